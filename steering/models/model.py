"""Load a model, turn text into tokens and back, and run it with hooks at sites.

The only file that names TransformerLens classes. TransformerLens gives the vocabulary (which module is `blocks.3`,
where a family keeps its second norm) and the analysis side (`model.bridge`); the forward pass runs the plain
transformers module with raw numerics, which is faster than through the bridge and gives the same tokens
(benchmarks/RESULTS.md). Both share one copy of the weights.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformer_lens.factories.architecture_adapter_factory import ArchitectureAdapterFactory
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.model_bridge.sources import build_bridge_config_from_hf
from transformer_lens.model_bridge.sources.transformers import determine_architecture_from_hf_config

from ..checkpoints.memory import MOST_PACKED
from ..showing.one_line import one_line, quoted
from ..sites import STREAMS, Site
from .arrivals import Arrivals, Reader
from .chat import END_OF_TURN
from .checks.identities import MOST_TOKENS, TEXT, Places, located
from .fused.choice import FusedSteps
from .hashing import roundings, weights_hash
from .hooks import Enough, Hook, Place, on_device, register
from .packing import PackedLinears, Products
from .tokenizing import added, encode, padded, rendered, token_texts
from .turns import Turns, piece_tokens

Prompt = str | Sequence[Mapping[str, str]] | Sequence[int]


@dataclass(eq=False)
class Model:
    """A language model, its tokenizer and the map from sites to modules.

    The lock serialises forward passes: hooks are state on the modules, so a second thread's clean pass would otherwise
    run the first thread's hooks. They exist only while a pass runs, and are removed on any way out of it.
    """

    name: str
    hf: nn.Module
    tokenizer: Any
    revision: str | None = None
    file: dict[str, str] = field(default_factory=dict)  # of a GGUF file: its name, quantization, license, SHA-256
    products: Products = "float32"  # in which dtype matrices are multiplied on the CPU
    lock: Turns = field(default_factory=Turns, repr=False)

    generate: ClassVar[Callable[..., Any]]  # completions by the model's own engine; given by engine/own.py, above

    def __repr__(self) -> str:
        size = f"{self.n_layers} layers of width {self.d_model}, {self.n_parameters / 1e6:,.3g} M parameters"
        return one_line(self, quoted(self.name, 80), size, f"{self.dtype} on {self.device}".removeprefix("torch."))

    # Weights --------------------------------------------------------------------------------------------------------

    @cached_property
    def adapter(self) -> Any:
        """TransformerLens' description of this architecture: which module plays which part."""
        config: Any = self.hf.config
        if not getattr(config, "architectures", None):
            config.architectures = [type(self.hf).__name__]
        try:
            architecture = determine_architecture_from_hf_config(config)
            bridge_config = build_bridge_config_from_hf(config, architecture, self.name, self.dtype)
            adapter = ArchitectureAdapterFactory.select_architecture_adapter(bridge_config)
            assert adapter.component_mapping is not None and "blocks" in adapter.component_mapping
        except (ValueError, KeyError, AssertionError) as error:
            raise ValueError(
                f"Tiller steers decoder-only models that TransformerLens has an adapter for; {self.name!r} is a "
                f"{type(self.hf).__name__}, which it does not know ({error})."
            ) from error
        return adapter

    @cached_property
    def blocks(self) -> nn.ModuleList:
        """The decoder layers, in order."""
        return self.hf.get_submodule(self.adapter.component_mapping["blocks"].name)  # type: ignore[return-value]

    @cached_property
    def text_config(self) -> Any:
        config: Any = self.hf.config
        return config.get_text_config(decoder=True)

    @property
    def n_layers(self) -> int:
        return len(self.blocks)

    @cached_property
    def d_model(self) -> int:
        return int(self.text_config.hidden_size)

    @cached_property
    def n_ctx(self) -> int:
        """The longest sequence the model was made for, in tokens."""
        for name in ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len"):
            value = getattr(self.text_config, name, None)
            if isinstance(value, int) and value > 0:
                return value
        return 2048

    @property
    def device(self) -> torch.device:
        return next(self.hf.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.hf.parameters()).dtype

    @property
    def rounds_to(self) -> torch.dtype:
        """The dtype that results are rounded to on the way: of the weights, or of the products where it is coarser."""
        return torch.bfloat16 if self.products == "bfloat16" else self.dtype

    @cached_property
    def d_vocab(self) -> int:
        return int(self.text_config.vocab_size)

    @cached_property
    def takes_positions(self) -> bool:
        """Whether the family's forward takes positions; others derive them from the mask, or have none."""
        return "position_ids" in inspect.signature(self.hf.forward).parameters

    @cached_property
    def n_parameters(self) -> int:
        return sum(p.numel() for p in self.hf.parameters())

    @cached_property
    def piece_tokens(self) -> int:
        """How many tokens one pass over several sequences may hold, so that other threads soon get a turn."""
        return piece_tokens(self.n_parameters, on_cpu=self.device.type == "cpu")

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the weights (names, shapes and a sample of every tensor): the same file gives the same one.

        A direction remembers it, so that it is not used on another model of the same width by mistake.
        """
        return weights_hash(self.hf)

    @cached_property
    def rounded_fingerprints(self) -> dict[str, str]:
        """Hashes of the weights rounded to bfloat16 and to float16, by which another load of a checkpoint is known."""
        return roundings(self.hf)

    @property
    def identity(self) -> dict[str, Any]:
        """The model's name, revision, loading mode and hashes, which a saved direction carries."""
        known = {"model": self.name, "revision": self.revision, "loading": "raw", "fingerprint": self.fingerprint}
        return known | self.rounded_fingerprints | ({"file": self.file} if self.file else {})

    # Sites ----------------------------------------------------------------------------------------------------------

    @cached_property
    def parallel(self) -> bool:
        """Whether attention and MLP read the same input, so that there is no stream between them."""
        block = self.adapter.component_mapping["blocks"].submodules
        return bool(getattr(self.adapter.cfg, "parallel_attn_mlp", False)) or "ln2" not in block

    @cached_property
    def post_norms(self) -> bool:
        """Whether the family normalises what attention and MLP write (Gemma-2, Gemma-3)."""
        return "ln1_post" in self.adapter.component_mapping["blocks"].submodules

    @cached_property
    def uses_rms_norm(self) -> bool:
        """Whether its norms keep the mean over channels, so that centered weights are another model."""
        return any("RMSNorm" in type(module).__name__ for module in self.hf.modules())

    @cached_property
    def places(self) -> list[Places]:
        """For every block the place of each stream that it has, found and checked by running a few tokens.

        Raises:
            ValueError: the blocks do not pass on one residual stream, or overflow in this dtype.
        """
        ids = [] if self.tokenizer is None else self.encode(TEXT)
        ids = [token for token in ids if token < self.d_vocab][:MOST_TOKENS] or list(range(1, 1 + MOST_TOKENS))
        with self.lock:  # between passes, when none of our hooks is on the modules
            return located(self.hf, self.blocks, self.adapter.component_mapping["blocks"].submodules, ids)

    @cached_property
    def streams(self) -> tuple[str, ...]:
        """The streams that every layer has: an edit there does what the stream's name says."""
        return tuple(stream for stream in STREAMS if all(stream in one for one in self.places))

    def check_site(self, site: Site) -> Site:
        """The site, if the model has it.

        Raises:
            ValueError: no such layer, or no such stream in this architecture.
        """
        if site.layer >= self.n_layers:
            raise ValueError(f"{self.name} has layers 0 to {self.n_layers - 1}; got layer {site.layer} ({site}).")
        if site.stream not in self.places[site.layer] or (site.stream in STREAMS and site.stream not in self.streams):
            why = (
                f"{self.name} runs attention and MLP in parallel and has no {site.stream}"
                if self.parallel and site.stream == "resid_mid"
                else f"{self.name} ({type(self.hf).__name__}) has no {site.stream} in layer {site.layer} whose numbers "
                "are what the name says"
            )
            raise ValueError(f"{why}; use one of {', '.join(self.streams)}.")
        return site

    def width(self, site: Site) -> int:
        """The width of the vectors at a site: `d_model`, except for the heads' outputs side by side."""
        if site.stream != "attn_z":
            return self.d_model
        heads = int(self.text_config.num_attention_heads)
        return heads * int(getattr(self.text_config, "head_dim", None) or self.d_model // heads)

    def mixing(self, layer: int) -> Float[Tensor, "d_heads d_model"]:
        """The matrix by which attention mixes the heads' outputs into the stream: attn_out = attn_z @ mixing (+ bias).

        A family that norms what attention writes scales the result by one more factor per token, and each channel by
        that norm's gain; neither is in it.
        """
        module, _ = self._module(self.check_site(Site(layer, "attn_z")))
        weight = module.get_parameter("weight").detach()
        # torch's Linear keeps [out in]; the Conv1D of GPT-2 keeps [in out].
        return weight.T if isinstance(module, nn.Linear) else weight

    def _module(self, site: Site) -> tuple[nn.Module, Place]:
        """The module of a site, and where in its block and on which side of it the site is."""
        place = self.places[site.layer][site.stream]
        return self.blocks[site.layer].get_submodule(place.path), place

    # Running --------------------------------------------------------------------------------------------------------

    @contextmanager
    def hooked(
        self, hooks: Mapping[Site, Hook], readers: Mapping[Site, Reader] | None = None, *, pos: int = 1
    ) -> Iterator[None]:
        """Hooks at sites for the length of a `with` block; a hook returns new activations, or None for no change.

        `readers` are called with each site's value as it arrives downstream; `pos` is the number of tokens in a row.
        Holds the model's lock, and removes all hooks at the end.
        """
        spread = getattr(self.hf, "hf_device_map", None)
        with self.lock:
            handles = []
            try:
                if readers:
                    handles += self.arrivals.watch_before(readers, pos)
                for site, hook in hooks.items():
                    in_place = self.check_site(site).stream == "resid_mid"
                    handles.append(
                        register(
                            *self._module(site),
                            on_device(hook, self.device) if spread else hook,
                            pos,
                            in_place=in_place,
                        )
                    )
                if readers:
                    handles += self.arrivals.watch_after(readers, pos)
                yield
            finally:
                for handle in handles:
                    handle.remove()
                if readers:
                    self.arrivals.forget()

    @cached_property
    def arrivals(self) -> Arrivals:
        """Where the value of each site is next used, found once."""
        few = torch.arange(1, 5, device=self.device)[None] % self.d_vocab
        final = self.adapter.component_mapping.get("ln_final")
        after = self.hf.get_submodule(final.name) if final is not None else None
        with self.lock:
            return Arrivals(self.blocks, self.places, after, few.shape[1], lambda: self.forward(few, keep=1))

    @cached_property
    def _packed(self) -> PackedLinears:
        return PackedLinears(self.hf, MOST_PACKED, self.products)

    @cached_property
    def _fused(self) -> FusedSteps:
        return FusedSteps(self.hf, self._packed)

    def forward(
        self,
        tokens: Int[Tensor, "rows pos"],
        *,
        attention_mask: Tensor | None = None,
        positions: Int[Tensor, "rows pos"] | None = None,
        cache: Any = None,
        hooks: Mapping[Site, Hook] | None = None,
        readers: Mapping[Site, Reader] | None = None,
        keep: int | Tensor = 0,
    ) -> Float[Tensor, "out_rows out_pos vocab"]:
        """Logits of one forward pass, of the last `keep` positions (0: all) or those listed; hooks may split a row."""
        hooks = {self.check_site(site): hook for site, hook in (hooks or {}).items()}
        with self.lock:
            fused = self._fused.logits(tokens, attention_mask, positions, cache, hooks, readers or {})
            if fused is not None:
                return fused
            with self.hooked(hooks, readers, pos=tokens.shape[1]), self._packed.active():
                extra = {"position_ids": positions} if positions is not None and self.takes_positions else {}
                kept = {"past_key_values": cache, "use_cache": cache is not None, "logits_to_keep": keep}
                return self.hf(input_ids=tokens, attention_mask=attention_mask, **kept, **extra).logits

    @torch.no_grad()
    def activations(
        self, prompts: Sequence[Sequence[int]], sites: Sequence[Site]
    ) -> tuple[dict[Site, Float[Tensor, "rows pos d_model"]], Bool[Tensor, "rows pos"]]:
        """Activations of token sequences at sites, padded on the left, and the mask of real tokens.

        The pass is left right after the last site. `no_grad`, not `inference_mode`: the result may train an SAE.
        """
        tokens, mask, positions = self.pad(prompts)
        found: dict[Site, Tensor] = {}
        wanted = [self.check_site(site) for site in sites]

        def reader(site: Site) -> Hook:
            def read(h: Tensor) -> None:
                found[site] = h.detach().clone()
                if len(found) == len(set(wanted)):
                    raise Enough

            return read

        with suppress(Enough):
            self.forward(
                tokens,
                attention_mask=None if bool(mask.all()) else mask.long(),
                positions=None if bool(mask.all()) else positions,
                hooks={site: reader(site) for site in wanted},
                keep=1,
            )
        return found, mask

    def pad(
        self, prompts: Sequence[Sequence[int]]
    ) -> tuple[Int[Tensor, "rows pos"], Bool[Tensor, "rows pos"], Int[Tensor, "rows pos"]]:
        """Token sequences padded on the left, the mask of real tokens and absolute positions."""
        tokens, mask, positions = padded(prompts)
        return tokens.to(self.device), mask.to(self.device), positions.to(self.device)

    @cached_property
    def bridge(self) -> TransformerBridge:
        """TransformerLens' view of the same weights, for analysis (`run_with_cache`, attention patterns).

        Booting replaces the blocks of the module it is given, so it is given a second skeleton that shares this
        model's parameters: no memory, and one source of truth for the weights.
        """
        shared = {id(t): t for t in (*self.hf.parameters(), *self.hf.buffers())}
        with self.lock:  # between passes, when none of our hooks is on the modules
            twin = copy.deepcopy(self.hf, shared)
        return TransformerBridge.boot_transformers(
            self.name, hf_model=twin, tokenizer=copy.deepcopy(self.tokenizer), device=str(self.device), dtype=self.dtype
        )

    # Text -----------------------------------------------------------------------------------------------------------

    @property
    def has_chat_template(self) -> bool:
        return bool(getattr(self.tokenizer, "chat_template", None))

    @cached_property
    def eos_tokens(self) -> frozenset[int]:
        """Tokens that end a text or, for a model with a chat template, a turn."""
        config: Any = self.hf
        ids = getattr(config.generation_config, "eos_token_id", None) or []
        added = self.tokenizer.get_added_vocab() if self.has_chat_template else {}
        turns = [added[name] for name in END_OF_TURN if name in added]
        known = [*([ids] if isinstance(ids, int) else ids), self.tokenizer.eos_token_id, *turns]
        return frozenset(token for token in known if token is not None)

    @cached_property
    def opening(self) -> tuple[int, ...]:
        """The special tokens that the tokenizer puts in front of a text: BOS as a rule, or none."""
        return added(self.tokenizer)[0]

    def leading(self, tokens: Sequence[int]) -> int:
        """How many tokens at the front of a sequence are its BOS (two in some families, none in others)."""
        if self.opening and tuple(tokens[: len(self.opening)]) == self.opening:
            return len(self.opening)
        bos = self.tokenizer.bos_token_id
        return int(bool(tokens) and bos is not None and tokens[0] == bos)

    def encode(self, text: str) -> list[int]:
        """The tokens of a text of any length, with BOS once if the tokenizer adds one, and no EOS."""
        return encode(self.tokenizer, text).ids

    def note(self, prompt: Prompt) -> str:
        """What `tokens` leaves out of a prompt (a second BOS, an EOS that the tokenizer appends), or ""."""
        return encode(self.tokenizer, prompt).note if isinstance(prompt, str) else ""

    def rendered(self, messages: Sequence[Mapping[str, str]], *, continue_final: bool = False) -> str:
        """Chat messages as the text that the model's template writes; see `tokens` for what is refused."""
        return rendered(self.tokenizer, self.name, messages, continue_final=continue_final)

    def tokens(self, prompt: Prompt, *, continue_final: bool = False) -> list[int]:
        """The token ids of a prompt: text, a list of chat messages, or token ids as they are.

        Text gets the special tokens that its tokenizer puts in front, once, and none after it. Chat messages go
        through the model's template, ready for the assistant's turn, or inside it with `continue_final`; a system
        prompt goes in front of the first user message where the family knows no system role.

        Raises:
            ValueError: the prompt is empty, or longer than the context, or chat without a chat template, or the
                template refuses the order of the roles.
        """
        if isinstance(prompt, str):
            if not prompt:
                raise ValueError("A prompt holds at least one character; got an empty text.")
            ids = self.encode(prompt)
        elif len(prompt) and isinstance(prompt[0], Mapping):
            text = self.rendered(prompt, continue_final=continue_final)  # type: ignore[arg-type]
            ids = encode(self.tokenizer, text, special=False).ids
        else:
            ids = [int(token) for token in prompt]  # type: ignore[arg-type]
        return self.checked(ids)

    def checked(self, ids: Sequence[int]) -> list[int]:
        """Token ids, if the model can read them and has room for one more.

        Raises:
            ValueError: none, too many, or an id outside the vocabulary.
        """
        if not ids:
            raise ValueError("A prompt holds at least one token; got none.")
        if len(ids) >= self.n_ctx:
            raise ValueError(
                f"{self.name} reads at most {self.n_ctx} tokens and needs room for one more; "
                f"the prompt has {len(ids)}. Shorten it."
            )
        bad = [token for token in ids if not 0 <= token < self.d_vocab]
        if bad:
            raise ValueError(f"Token ids of {self.name} run from 0 to {self.d_vocab - 1}; got {bad[0]}.")
        return list(ids)

    def text(self, tokens: Sequence[int], *, special: bool = False) -> str:
        """The text of tokens, without special tokens unless asked for."""
        return self.tokenizer.decode(list(tokens), skip_special_tokens=not special, clean_up_tokenization_spaces=False)

    def token_texts(self, tokens: Sequence[int]) -> list[str]:
        """The text of each token alone, with its leading space, special tokens included; for showing."""
        return token_texts(self.tokenizer, tokens)
