"""sglang's packed multi-item scoring on a CPU, by this project's own attention.

For correctness, never quoted for speed. sglang packs items (``--enable-mis``) only with the
attention backend that is called ``flashinfer``, and that one needs a GPU. On this project's CPU
platform, the one below stands behind that name, through sglang's own registry
(``register_attention_backend``). It sees what flashinfer's lets see, token for token
(``scoreparity_multi_item.py``). Everything else (the packed sequence, where scores are read, the
scheduler) is sglang's, unpatched.
"""

from __future__ import annotations

import scoreparity_multi_item as multi_item
import torch
from sglang.srt.layers.attention.torch_native_backend import TorchNativeAttnBackend
from sglang.srt.layers.radix_attention import AttentionType, RadixAttention
from sglang.srt.model_executor.forward_batch_info import ForwardBatch


class MultiItemTorchAttention(TorchNativeAttnBackend):
    """sglang's attention of plain PyTorch operators, with a mask between packed items.

    A batch without packed items goes to sglang's attention as it is.
    """

    _masks: list[torch.Tensor] | None = None

    def init_forward_metadata(self, forward_batch: ForwardBatch) -> None:
        """Before each forward pass: one mask per request, and the positions of its tokens."""
        super().init_forward_metadata(forward_batch)
        self._masks = None
        delimiters = forward_batch.multi_item_delimiter_indices
        if delimiters is None or not forward_batch.forward_mode.is_extend():
            return
        if any(forward_batch.extend_prefix_lens_cpu):
            # sglang switches the prefix cache and chunked prefill off with --enable-mis.
            raise NotImplementedError("packed items behind a cached prefix")
        lengths = forward_batch.extend_seq_lens_cpu
        packed = list(zip(delimiters, lengths, strict=True))
        self._masks = [multi_item.visible(*one) for one in packed]
        forward_batch.positions.copy_(torch.cat([multi_item.positions(*one) for one in packed]))

    def forward_extend(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        layer: RadixAttention,
        forward_batch: ForwardBatch,
        save_kv_cache: bool = True,
    ) -> torch.Tensor:
        """The attention of one layer, shape ``(tokens, heads * head size)``.

        Keys and values of packed items are not kept: such a request ends with its prompt.
        """
        if self._masks is None:
            return super().forward_extend(q, k, v, layer, forward_batch, save_kv_cache)
        _refuse_what_the_mask_leaves_out(layer)
        lengths = [len(mask) for mask in self._masks]
        tensors = (
            _by_head(q, layer.tp_q_head_num, lengths),
            _by_head(k, layer.tp_k_head_num, lengths),
            _by_head(v, layer.tp_v_head_num, lengths),
        )
        outputs = [
            torch.nn.functional.scaled_dot_product_attention(
                query, key, value, attn_mask=mask, scale=layer.scaling, enable_gqa=True
            )
            for query, key, value, mask in zip(*tensors, self._masks, strict=True)
        ]
        return torch.cat([output[0].transpose(0, 1).flatten(1) for output in outputs])


def _by_head(tensor: torch.Tensor, heads: int, lengths: list[int]) -> list[torch.Tensor]:
    """One tensor of shape ``(1, heads, tokens, head size)`` per request."""
    by_head = tensor.view(tensor.shape[0], heads, -1).transpose(0, 1)[None]
    # Padding, if any, follows the last request.
    return list(by_head[:, :, : sum(lengths)].split(lengths, dim=2))


def _refuse_what_the_mask_leaves_out(layer: RadixAttention) -> None:
    """A wrong score is worse than none: the mask knows neither windows nor caps."""
    windowed = layer.sliding_window_size is not None and layer.sliding_window_size > -1
    decoder = layer.attn_type == AttentionType.DECODER and not layer.is_cross_attention
    if windowed or layer.logit_cap > 0 or not decoder:
        raise NotImplementedError("packed items in anything but plain causal self-attention")
