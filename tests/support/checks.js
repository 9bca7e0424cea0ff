// What a page is asked in the browser. Each question returns a list of complaints.
(() => {
  const words = (text) => text.trim().replace(/\s+/g, " ").slice(0, 60);

  const named = (element) => {
    const name = element.id ? `#${element.id}` : element.getAttribute("class") || "";
    return `<${element.tagName.toLowerCase()} ${name}> ${words(element.textContent)}`;
  };

  // [red, green, blue, alpha] of a computed colour.
  const rgba = (colour) => {
    if (!/^rgba?\(/.test(colour)) throw new Error(`not a plain colour: ${colour}`);
    const [red, green, blue, alpha = 1] = colour.match(/[\d.]+/g).map(Number);
    return [red, green, blue, alpha];
  };

  const faded = ([red, green, blue, alpha], by) => [red, green, blue, alpha * by];

  // `top` painted over the opaque colour `below`.
  const over = (top, below) =>
    [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);

  const luminance = (colour) => {
    const [red, green, blue] = colour.map((value) => {
      const share = value / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };

  const contrast = (one, other) => {
    const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };

  // An element and all it stands in, outermost first.
  const lineage = (element) => {
    const found = [];
    for (let one = element; one; one = one.parentElement) found.unshift(one);
    return found;
  };

  // What is asked of an element again and again, for its texts and those within it, is found once.
  const once = (find) => {
    const found = new Map();
    return (element) => {
      if (!found.has(element)) found.set(element, find(element));
      return found.get(element);
    };
  };

  const opacity = once((element) => {
    const own = Number(getComputedStyle(element).opacity);
    return element.parentElement ? opacity(element.parentElement) * own : own;
  });

  // The probe makes the browser lay the page out anew, so it is put there once.
  const canvas = once(() => {
    const probe = document.body.appendChild(document.createElement("i"));
    probe.style.color = "Canvas";
    const colour = rgba(getComputedStyle(probe).color);
    probe.remove();
    return colour;
  });

  // The shapes of `svg` that are painted, each with its box.
  const painted = once((svg) =>
    [...svg.querySelectorAll("path,rect,circle,ellipse,polygon")]
      .filter((shape) => !shape.closest("defs,clipPath,mask,pattern,marker,symbol"))
      .filter((shape) => getComputedStyle(shape).fill !== "none")
      .map((shape) => [shape, shape.getBoundingClientRect()]),
  );

  // The shapes of `svg` painted before `text` that lie under the middle of it.
  const under = (svg, text, box) => {
    const [x, y] = [(box.left + box.right) / 2, (box.top + box.bottom) / 2];
    const found = [];
    for (const [shape, around] of painted(svg)) {
      if (!(shape.compareDocumentPosition(text) & Node.DOCUMENT_POSITION_FOLLOWING)) continue;
      if (x < around.left || x > around.right || y < around.top || y > around.bottom) continue;
      const middle = new DOMPoint(x, y).matrixTransform(shape.getScreenCTM().inverse());
      if (shape.isPointInFill(middle)) found.push(shape);
    }
    return found;
  };

  // The colour that an element's own background and those around it make.
  const ground = once((element) => {
    const own = rgba(getComputedStyle(element).backgroundColor);
    const below = element.parentElement ? ground(element.parentElement) : canvas();
    return over(faded(own, opacity(element)), below);
  });

  const background = (element, box) => {
    let colour = ground(element);
    const svg = element.closest("svg");
    for (const shape of svg ? under(svg, element, box) : []) {
      const style = getComputedStyle(shape);
      // A gradient or a pattern has no one colour.
      if (!/^rgb/.test(style.fill)) continue;
      const own = faded(rgba(style.fill), Number(style.fillOpacity) * opacity(shape));
      colour = over(own, colour);
    }
    return colour;
  };

  const foreground = (element) => {
    const style = getComputedStyle(element);
    const inside = element.closest("svg");
    const colour = inside
      ? faded(rgba(style.fill), Number(style.fillOpacity))
      : rgba(style.color);
    return faded(colour, opacity(element));
  };

  // Every text a reader sees: the element it stands in, its words and its box.
  const texts = function* () {
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const { currentNode: node } = walker;
      const element = node.parentElement;
      if (!node.data.trim() || element.closest("script,style,title,desc,noscript")) continue;
      if (!element.checkVisibility({ visibilityProperty: true })) continue;
      const range = document.createRange();
      range.selectNodeContents(node);
      const box = range.getBoundingClientRect();
      if (box.width && box.height) yield [element, node.data, box];
    }
  };

  const scrolls = (element) =>
    ["auto", "scroll"].includes(getComputedStyle(element).overflowX);

  return {
    illegible(least) {
      const found = [];
      for (const [element, text, box] of texts()) {
        const below = background(element, box);
        const ratio = contrast(over(foreground(element), below), below);
        if (ratio < least) found.push(`contrast ${ratio.toFixed(2)}: ${words(text)}`);
      }
      return found;
    },

    overflowing() {
      const found = [];
      const width = document.documentElement.clientWidth;
      const whole = document.documentElement.scrollWidth;
      if (whole > window.innerWidth) found.push(`the page is ${whole} px wide`);
      for (const element of document.body.querySelectorAll("*")) {
        if (element.parentElement.closest("svg")) continue;
        const box = element.getBoundingClientRect();
        if (!box.width || !box.height) continue;
        if (box.left >= -1 && box.right <= width + 1) continue;
        if (lineage(element.parentElement).slice(2).some(scrolls)) continue;
        found.push(`from ${box.left} to ${box.right} of ${width} px: ${named(element)}`);
      }
      return found;
    },

    unseen() {
      const found = [];
      const figures = [...document.querySelectorAll("figure")];
      if (!figures.length) found.push("no figure");
      for (const figure of figures) {
        const svg = figure.querySelector("svg");
        const box = svg && svg.getBoundingClientRect();
        if (!box || box.width < 100 || box.height < 50) {
          found.push(`no drawing: ${named(figure)}`);
        } else if (!svg.querySelector("path,rect,use,circle")) {
          found.push(`an empty drawing: ${named(figure)}`);
        }
      }
      return found;
    },

    clipped() {
      const found = [];
      for (const text of document.querySelectorAll("svg text")) {
        const [box, page] = [text, text.ownerSVGElement].map((e) => e.getBoundingClientRect());
        const inside =
          box.left >= page.left - 1 && box.right <= page.right + 1 &&
          box.top >= page.top - 1 && box.bottom <= page.bottom + 1;
        if (!inside) found.push(`outside its figure: ${words(text.textContent)}`);
      }
      return found;
    },

    repeated() {
      const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
      return [...new Set(ids.filter((id, i) => ids.indexOf(id) !== i))];
    },

    unfocusable() {
      return [...document.body.querySelectorAll("*")]
        .filter((one) => scrolls(one) && one.scrollWidth > one.clientWidth && one.tabIndex < 0)
        .map(named);
    },

    // Whether what is printed is a light page, whatever the screen shows.
    dark() {
      const page = over(rgba(getComputedStyle(document.body).backgroundColor), canvas());
      const found = luminance(page) < 0.9 ? [`the paper is rgb(${page.slice(0, 3)})`] : [];
      for (const [element, text, box] of texts()) {
        const shade = luminance(over(foreground(element), background(element, box)));
        if (shade > 0.5) found.push(`light text: ${words(text)}`);
      }
      return found;
    },
  };
})()
