"""The servers' command lines, written out: of the CPU default, and of a TPU and a GPU host."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from contracts import ROOT, raw_contract
from targets import bare_folder, plans, raw_target

from stages.common.errors import ContractError, UserError
from stages.plan.command_line import command_line

ON_A_CPU = {
    (
        "jax",
        "portable",
    ): """
    backends/jax/launch_cpu.py
    --model-path data/checkpoint --skip-tokenizer-init
    --device cpu --dtype float32 --skip-server-warmup
    --context-length 160 --max-running-requests 8 --max-total-tokens 2560 --max-prefill-tokens 1152
    --precompile-token-paddings 144 288 576 1152 --precompile-bs-paddings 1 2 4 8
    --disable-radix-cache --chunked-prefill-size -1
    --attention-backend native --page-size 1 --mem-fraction-static 0.2
    """,
    (
        "jax",
        "best_native",
    ): """
    backends/jax/launch_cpu.py
    --model-path data/checkpoint --skip-tokenizer-init
    --device cpu --dtype float32 --skip-server-warmup
    --context-length 160 --max-running-requests 8 --max-total-tokens 2560 --max-prefill-tokens 1152
    --precompile-token-paddings 16 32 64 144 288 576 1152 --precompile-bs-paddings 1 2 4 8
    --chunked-prefill-size -1
    --attention-backend native --page-size 1 --mem-fraction-static 0.2
    """,
    (
        "pytorch",
        "portable",
    ): """
    -m sglang.launch_server
    --model-path data/checkpoint --skip-tokenizer-init
    --device cpu --dtype float32 --skip-server-warmup
    --context-length 160 --max-total-tokens 5120
    --disable-radix-cache --chunked-prefill-size -1
    --attention-backend torch_native --disable-cuda-graph --mem-fraction-static 0.3
    """,
    (
        "pytorch",
        "best_native",
    ): """
    -m sglang.launch_server
    --model-path data/checkpoint --skip-tokenizer-init
    --device cpu --dtype float32 --skip-server-warmup
    --context-length 160 --max-total-tokens 5120
    --chunked-prefill-size -1
    --attention-backend torch_native --disable-cuda-graph --mem-fraction-static 0.3
    """,
}

ON_A_TPU = {
    "portable": """
    -m sgl_jax.launch_server
    --model-path Qwen/Qwen3-0.6B --revision main --skip-tokenizer-init
    --device tpu --dtype bfloat16 --skip-server-warmup
    --multi-item-scoring-delimiter 151643
    --tp-size 1 --attention-backend fa --disable-radix-cache --chunked-prefill-size -1
    --multi-item-scoring-chunk-size 500 --max-multi-item-count 512 --max-multi-item-seq-len 32768
    --max-prefill-tokens 32768
    --multi-item-mask-impl dense --multi-item-segment-fallback-threshold 0
    --mem-fraction-static 0.7 --page-size 64 --max-running-requests 32
    --precompile-token-paddings 1024 4096 16384 --precompile-bs-paddings 1 4 8 16 32
    """,
    "best_native": """
    -m sgl_jax.launch_server
    --model-path Qwen/Qwen3-0.6B --revision main --skip-tokenizer-init
    --device tpu --dtype bfloat16 --skip-server-warmup
    --tp-size 1 --attention-backend fa --chunked-prefill-size -1 --max-prefill-tokens 32768
    --mem-fraction-static 0.7 --page-size 64 --max-running-requests 24
    --precompile-token-paddings 1024 4096 16384 --precompile-bs-paddings 24
    --disable-overlap-schedule --enable-scoring-cache
    --multi-item-enable-prefill-extend --multi-item-extend-batch-size 64
    --multi-item-enable-score-from-cache-v2 --multi-item-score-from-cache-v2-items-per-step 48
    """,
}

_GPU = """
    -m sglang.launch_server
    --model-path Qwen/Qwen3-0.6B --revision main --skip-tokenizer-init
    --device cuda --dtype bfloat16 --skip-server-warmup
    """

# sglang's version -> view -> what stands behind the flags every server gets.
ON_A_GPU = {
    version: {
        "portable": f"{_GPU} {packing} --tp-size 1 {rest}",
        "best_native": f"{_GPU} {packing} --tp-size 1",
    }
    for version, packing, rest in [
        (
            "0.5.23",
            "--enable-mis --attention-backend flashinfer",
            "--disable-radix-cache --chunked-prefill-size -1",
        ),
        (
            "0.5.11",
            "--enable-mis --attention-backend flashinfer",
            "--disable-radix-cache --chunked-prefill-size -1",
        ),
        (
            "0.5.10.post1",
            "--multi-item-scoring-delimiter 151643 --disable-radix-cache --chunked-prefill-size -1",
            "",
        ),
    ]
}


def with_sglang(folder: Path, pin: str) -> Path:
    """A bare folder whose GPU environment pins another sglang."""
    for path in [*ROOT.glob("backends/*/*.txt"), *ROOT.glob("backends/*/backend.py")]:
        copy = folder / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    gpu = folder / "backends/pytorch/requirements-gpu.txt"
    lines = gpu.read_text().splitlines()
    gpu.write_text("\n".join(pin if line.startswith("sglang==") else line for line in lines))
    return folder


def test_the_default_contracts_command_lines_have_nothing_of_an_accelerator(tmp_path: Path) -> None:
    made = plans(bare_folder(tmp_path), raw_contract())
    assert {where: plan.arguments for where, plan in made.items()} == {
        where: shlex.split(line) for where, line in ON_A_CPU.items()
    }


def test_a_tpu_packs_with_dense_masks_and_room_for_all_items_or_scores_from_the_cache(
    tmp_path: Path,
) -> None:
    made = plans(bare_folder(tmp_path), raw_target("target=tpu_vs_gpu"))
    for view, line in ON_A_TPU.items():
        assert made["jax", view].arguments == shlex.split(line)
        assert made["jax", view].contract.launch.environ == {"JAX_PLATFORMS": "tpu"}


@pytest.mark.parametrize("version", ON_A_GPU)
def test_the_pinned_sglang_decides_which_flags_ask_for_packed_items(
    tmp_path: Path, version: str
) -> None:
    folder = with_sglang(tmp_path, f"sglang=={version} \\")
    made = plans(folder, raw_target("target=tpu_vs_gpu"))
    for view, line in ON_A_GPU[version].items():
        arguments = made["pytorch", view].arguments
        # The order of flags is nothing to a server; one given twice is.
        assert sorted(arguments) == sorted(shlex.split(line))
        assert made["pytorch", view].contract.launch.environ == {}


def test_the_committed_lock_pins_an_sglang_with_the_new_switch(tmp_path: Path) -> None:
    made = plans(bare_folder(tmp_path), raw_target("target=tpu_vs_gpu"))
    assert made["pytorch", "portable"].arguments[-8:] == [
        *("--enable-mis", "--attention-backend", "flashinfer", "--tp-size", "1"),
        *("--disable-radix-cache", "--chunked-prefill-size", "-1"),
    ]


def test_without_a_pinned_version_the_flags_are_not_known(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no version of sglang is pinned"):
        plans(with_sglang(tmp_path, ""), raw_target("target=tpu_vs_gpu"))


def test_a_delimiter_of_the_servers_own_must_be_in_no_prompt_either(tmp_path: Path) -> None:
    raw = raw_target("target=tpu_vs_gpu")
    raw["vocabulary"]["reserved_token_ids"] = [151643]
    with pytest.raises(ContractError, match=r"reserved_token_ids: found \[151643\].*9999 among"):
        plans(bare_folder(tmp_path), raw)


def test_prompts_of_their_own_need_no_flag_and_keep_the_prefix_cache(tmp_path: Path) -> None:
    raw = raw_target("target=tpu_vs_gpu", "backends.pytorch.best_native.multi_item=null")
    arguments = plans(bare_folder(tmp_path), raw)["pytorch", "best_native"].arguments
    assert arguments == [*shlex.split(_GPU), "--tp-size", "1"]


def packed_on_a_cpu(**flags: object) -> dict[str, Any]:
    """The default contract with packed items in the portable view of PyTorch."""
    raw = raw_contract()
    view = raw["backends"]["pytorch"]["portable"]
    view["multi_item"] = {"delimiter_token_id": 9999}
    del view["flags"]["attention-backend"]
    view["flags"] |= flags
    return raw


def test_packed_items_on_a_cpu_get_room_for_all_of_them_in_one_sequence(tmp_path: Path) -> None:
    made = plans(bare_folder(tmp_path), packed_on_a_cpu())
    # 128 + 16 x (12 + 1) tokens in the isolation probe with longer items, and room at the end.
    assert made["pytorch", "portable"].arguments == shlex.split("""
        -m sglang.launch_server
        --model-path data/checkpoint --skip-tokenizer-init
        --device cpu --dtype float32 --skip-server-warmup
        --context-length 352 --max-total-tokens 704
        --enable-mis --attention-backend flashinfer
        --disable-radix-cache --chunked-prefill-size -1
        --disable-cuda-graph --mem-fraction-static 0.3
    """)
    others = {where: shlex.split(line) for where, line in ON_A_CPU.items()}
    del others["pytorch", "portable"]
    assert {where: made[where].arguments for where in others} == others


def test_a_flag_that_takes_back_what_packing_needs_is_refused(tmp_path: Path) -> None:
    said = (
        r"backends\.pytorch\.portable\.flags\.attention-backend: found 'torch_native'; allowed:"
        r" 'flashinfer', or nothing: backends\.pytorch\.portable\.multi_item needs it"
    )
    with pytest.raises(ContractError, match=said):
        plans(bare_folder(tmp_path), packed_on_a_cpu(**{"attention-backend": "torch_native"}))


def test_a_flag_that_says_what_packing_needs_is_taken(tmp_path: Path) -> None:
    raw = packed_on_a_cpu(**{"attention-backend": "flashinfer"})
    arguments = plans(bare_folder(tmp_path), raw)["pytorch", "portable"].arguments
    assert arguments.count("--attention-backend") == 1


def test_a_delimiter_does_not_size_a_server_whose_items_continue_a_kept_query(
    tmp_path: Path,
) -> None:
    raw = raw_target("target=cpu_multi_item")
    view = raw["backends"]["jax"]["best_native"]
    folder = bare_folder(tmp_path)
    expected = plans(folder, raw)["jax", "best_native"].contract.flags
    # The builds that know a delimiter start with `fa` alone, which is `native` on a CPU.
    view["multi_item"] = {"delimiter_token_id": 9999}
    view["flags"] |= {"attention-backend": "fa", "max-multi-item-seq-len": 200}
    made = plans(folder, raw)["jax", "best_native"]
    assert made.contract.flags == expected | view["flags"] | {"multi-item-scoring-delimiter": 9999}
    assert made.scoring("many").mode == "score_from_cache"


def test_flags_become_arguments() -> None:
    flags = {"a": True, "b": False, "c": 3, "d": [1, 2], "e": "x", "f": 0, "g": 0.5, "h": -1}
    assert command_line(flags) == [
        *("--a", "--c", "3", "--d", "1", "2", "--e", "x", "--f", "0", "--g", "0.5", "--h", "-1")
    ]
