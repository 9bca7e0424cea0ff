"""A GGUF file is read as the format's own package reads it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter
from gguf.quants import dequantize, quantize
from hypothesis import given, settings
from hypothesis import strategies as st
from packages import tiny_weights, write_gguf

from stages.common.errors import UserError
from stages.packaged.gguf_file import GgufFile

KINDS = [
    GGMLQuantizationType.F32,
    GGMLQuantizationType.F16,
    GGMLQuantizationType.Q4_0,
    GGMLQuantizationType.Q4_1,
    GGMLQuantizationType.Q8_0,
]


@settings(max_examples=40)
@given(
    texts=st.lists(st.text(), min_size=1),
    numbers=st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1),
    number=st.floats(width=32, allow_nan=False),
    tensors=st.lists(
        st.tuples(st.sampled_from(KINDS), st.integers(1, 5), st.integers(1, 3)), max_size=5
    ),
)
def test_whatever_the_packages_writer_writes_is_read(
    tmp_path_factory: pytest.TempPathFactory, texts, numbers, number, tensors
) -> None:
    path = tmp_path_factory.mktemp("gguf") / "any.gguf"
    writer = GGUFWriter(path, "any")
    writer.add_array("the.texts", texts)
    writer.add_array("the.numbers", numbers)
    writer.add_float32("the.number", number)
    random, stored = np.random.default_rng(0), {}
    for i, (kind, rows, blocks) in enumerate(tensors):
        data = quantize(random.standard_normal((rows, 32 * blocks)).astype(np.float32), kind)
        stored[f"t{i}"] = dequantize(data, kind)
        writer.add_tensor(f"t{i}", data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    file = GgufFile(path)
    assert file.text("general.architecture") == "any"
    assert file.texts("the.texts") == texts
    assert file.numbers("the.numbers") == numbers
    assert file.number("the.number") == number
    assert file.tensors.keys() == stored.keys()
    for name, tensor in stored.items():
        assert file.tensor(name).dtype == np.float32
        np.testing.assert_array_equal(file.tensor(name), tensor)


def test_a_model_is_read_as_the_packages_reader_reads_it(tmp_path: Path) -> None:
    write_gguf(tmp_path / "tiny.gguf", tiny_weights())
    file, theirs = GgufFile(tmp_path / "tiny.gguf"), GGUFReader(tmp_path / "tiny.gguf")
    assert set(file.tensors) == {t.name for t in theirs.tensors}
    for tensor in theirs.tensors:
        expected = dequantize(tensor.data, tensor.tensor_type)
        np.testing.assert_array_equal(file.tensor(tensor.name), expected)
    tokens = theirs.fields["tokenizer.ggml.tokens"].contents()
    assert file.texts("tokenizer.ggml.tokens") == tokens


def test_a_file_cut_anywhere_in_its_header_or_of_another_kind_is_one_line(tmp_path: Path) -> None:
    write_gguf(tmp_path / "whole.gguf", tiny_weights())
    whole = (tmp_path / "whole.gguf").read_bytes()
    broken = tmp_path / "broken.gguf"
    for data in (b"", b"GGUF", b"PK\3\4" + whole[4:], *(whole[:n] for n in range(5, 9000, 333))):
        broken.write_bytes(data)
        with pytest.raises(UserError, match=r"broken\.gguf: "):
            GgufFile(broken).tensor("blk.0.attn_q.weight")
    with pytest.raises(UserError, match=r"missing\.gguf"):
        GgufFile(tmp_path / "missing.gguf")
    with pytest.raises(UserError, match=r"no usable llama\.none"):
        GgufFile(tmp_path / "whole.gguf").number("llama.none")
