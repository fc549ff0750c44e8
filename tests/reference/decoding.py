"""Steered text the slow way: transformers, one row, no cache, a forward hook on one block."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

Change = Callable[[Tensor], Tensor]  # [pos d_model] -> [pos d_model], all tokens so far


def blocks(hf: nn.Module) -> nn.ModuleList:
    """The decoder blocks of GPT-2, GPT-NeoX, and of everything that is built like Llama."""
    if hasattr(hf, "transformer"):
        return hf.transformer.h
    return hf.gpt_neox.layers if hasattr(hf, "gpt_neox") else hf.model.layers


@torch.no_grad()
def logits(hf: nn.Module, tokens: list[int], layer: int, change: Change | None, at_input: bool = False) -> Tensor:
    """Logits [pos vocab] of a sequence with `change` done to a block's output (or input)."""

    def on_output(module: nn.Module, args: tuple, output: Tensor | tuple) -> Tensor | tuple:
        if isinstance(output, tuple):
            return (change(output[0][0])[None], *output[1:])
        return change(output[0])[None]

    def on_input(module: nn.Module, args: tuple) -> tuple:
        return (change(args[0][0])[None], *args[1:])

    block, handles = blocks(hf)[layer], []
    if change is not None:
        hook = block.register_forward_pre_hook(on_input) if at_input else block.register_forward_hook(on_output)
        handles.append(hook)
    try:
        return hf(torch.tensor([tokens]), use_cache=False).logits[0]
    finally:
        for handle in handles:
            handle.remove()


def greedy(
    hf: nn.Module, prompt: list[int], n: int, layer: int = 0, change: Change | None = None, at_input: bool = False
) -> list[int]:
    """n tokens, each the most probable one."""
    tokens = list(prompt)
    for _ in range(n):
        tokens.append(int(logits(hf, tokens, layer, change, at_input)[-1].argmax()))
    return tokens[len(prompt) :]


def logprobs(
    hf: nn.Module, prompt: list[int], targets: list[int], layer: int = 0, change: Change | None = None
) -> list:
    """log p(target_i | prompt, targets before i)."""
    table = logits(hf, [*prompt, *targets], layer, change).log_softmax(-1)
    return [float(table[len(prompt) + i - 1, token]) for i, token in enumerate(targets)]
