"""Make dictionaries from a plan: sample answers, tokenize, harvest, train, measure, save; each step resumable."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import tomli_w

from ...jobs.checkpoint import Checkpoint
from ...models.model import Model
from ...sites import Site
from ..quality import Bench, measure, table
from ..texts import texts_of
from .folder import rounded, save_dictionary
from .harvest import Buffer, Norms
from .recipe import SaeRecipe
from .tokens import Windows, answers, chat_windows, text_windows, write_windows
from .training import finished, train_sites

VARIANT = re.compile(r"[\w-]{1,40}")
HELD_OUT = 50  # every 50th text or chat is held out, where no texts are named for it
Tick = Callable[[str, int, int, dict[str, float]], None]


@dataclass(frozen=True)
class TrainingPlan:
    """What `python -m steering.saes train CONFIG.toml` reads: the model, sites and texts, and the recipe.

    Raises:
        ValueError: there is no site or no text, or a number is out of range.
    """

    model: str
    sites: tuple[str, ...]
    recipe: SaeRecipe
    # Several dictionaries of one site on the same activations: name -> what differs from the recipe. TOML: [variants.x]
    variants: dict[str, dict[str, Any]] = field(default_factory=dict)
    texts: tuple[str, ...] = ()  # files, folders or "hub:owner/name[:column]"
    held_out: tuple[str, ...] = ()  # texts to measure on; without them every 50th text
    prompts: tuple[str, ...] = ()  # the model answers them, and the chats are texts too; every 50th is held out
    prompt_key: str = "prompt"
    answer_tokens: int = 256
    answer_rows: int = 16  # prompts answered side by side
    limit: int | None = None  # texts of each hub data set
    context: int = 512  # tokens in a window
    buffer_gb: float = 4.0  # activations on disk at a time, all sites together
    batch_tokens: int = 8192  # tokens in one pass of the model
    measure_tokens: int = 100_000
    measure_batch: int = 2048
    half: bool = True  # save 16-bit weights
    sources: str = ""  # what the texts are and under which licenses, for the card

    def __post_init__(self) -> None:
        """Raise ValueError if nothing can be made of the plan."""
        if not self.sites:
            raise ValueError('A plan names the sites to train at; sites is empty. Give ["blocks.3.hook_resid_post"].')
        if not self.texts and not self.prompts:
            raise ValueError("A plan names texts or prompts to train on; both are empty.")
        if self.context < 16 or self.buffer_gb <= 0 or self.measure_tokens < 1:
            raise ValueError("A plan needs context >= 16, buffer_gb > 0 and measure_tokens >= 1.")
        for name, changes in self.variants.items():
            if not VARIANT.fullmatch(name):
                raise ValueError(f"A variant is called by letters, digits, - and _; {name!r} arrived.")
            _known(changes, _names(SaeRecipe))
        self.recipes  # noqa: B018  an impossible variant is refused now, not after the harvest

    @property
    def recipes(self) -> dict[str, SaeRecipe]:
        """The recipes to train at every site, by the variant's name; "" is the plan's only one."""
        if not self.variants:
            return {"": self.recipe}
        return {name: replace(self.recipe, **_tuples(changes)) for name, changes in self.variants.items()}

    @classmethod
    def parse(cls, text: str) -> TrainingPlan:
        """The plan of a TOML file; paths stay as written.

        Raises:
            ValueError: not TOML, an unknown name, or a value that does not fit.
        """
        try:
            found = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"A plan is a TOML file; this one could not be read: {error}.") from error
        recipe = found.pop("recipe", {})
        _known(found, _names(cls) - {"recipe"})
        _known(recipe, _names(SaeRecipe))
        try:
            return cls(recipe=SaeRecipe(**_tuples(recipe)), **_tuples(found))
        except (TypeError, AttributeError) as error:
            raise ValueError(f"A plan lacks something, or a value has the wrong kind: {error}.") from error

    def toml(self) -> str:
        """The plan as a TOML file that `parse` reads back, without what is as by default."""
        plain = {field.name: field.default for field in fields(SaeRecipe)}
        recipe = {name: value for name, value in asdict(self.recipe).items() if value != plain[name]}
        own = {field.name: field.default for field in fields(self)}
        whole = {name: value for name, value in asdict(self).items() if value not in (own[name], {}, None)}
        return tomli_w.dumps({**_lists(whole), "recipe": _lists(recipe)})


def _names(cls: type) -> set[str]:
    return {field.name for field in fields(cls)}


def _known(given: dict[str, Any], known: set[str]) -> None:
    if unknown := sorted(set(given) - known):
        raise ValueError(f"A plan does not know {unknown[0]!r}; here it knows {', '.join(sorted(known))}.")


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def _lists(values: dict[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def prompts_of(plan: TrainingPlan) -> list[str]:
    """The plan's prompts, each once, in the order of its files; every 50th of them is held out."""
    return list(dict.fromkeys(text for source in plan.prompts for text in texts_of(source, key=plan.prompt_key)))


def chats_of(
    plan: TrainingPlan, lm: Model, prompts: Sequence[str], folder: Path, tick: Tick
) -> list[list[dict[str, str]]]:
    """Prompts with the model's own answers, sampled once and kept in `folder/answers.jsonl`."""
    return answers(
        lm, prompts, Checkpoint(folder / "answers.jsonl"),
        lambda done, total: tick("answers", done, total, {}),
        tokens=plan.answer_tokens, rows=plan.answer_rows, seed=plan.recipe.seed,
    ) if prompts else []  # fmt: skip


def windows_of(plan: TrainingPlan, lm: Model, folder: Path, tick: Tick) -> tuple[Windows, Windows]:
    """The windows to train on and those held out, tokenized once."""
    prompts = prompts_of(plan)
    chats = chats_of(plan, lm, prompts, folder, tick)
    # By the prompt and not by its place among the chats, which come in another order and without empty answers.
    held_prompts = set(prompts[::HELD_OUT])

    def sequences(held: bool) -> Iterator[tuple[list[int], int]]:
        def chosen(items: Any, whole: bool) -> Iterator[Any]:
            return (item for number, item in enumerate(items) if whole or (number % HELD_OUT == 0) == held)

        named = bool(plan.held_out)
        for source in plan.held_out if held and named else plan.texts:
            yield from text_windows(lm, chosen(texts_of(source, limit=plan.limit), named), plan.context)
        yield from chat_windows(
            lm, (chat for chat in chats if (chat[0]["content"] in held_prompts) == held), plan.context
        )

    about = {**asdict(plan), "recipe": plan.recipe.seed, "variants": None, "chats": len(chats)}
    made = []
    for name in ("train", "held out"):
        made.append(write_windows(
            folder / name.replace(" ", "-"), sequences(name != "train"), {**about, "part": name},
            lambda done, name=name: tick(f"tokenize {name}", done, 0, {}) if done % 500 == 0 else None,
        ))  # fmt: skip
    return made[0], made[1]


def make(
    plan: TrainingPlan, lm: Model, folder: Path, tick: Tick, *, name: str = "", keep_work: bool = False
) -> dict[str, dict[str, float]]:
    """Train the plan's dictionaries into `folder/<site>`, one SAELens folder each; returns their measures.

    `folder/work` holds what an interrupted call needs to go on, and is deleted in the end.

    Args:
        name: what the model is called in the saved folders; by default the plan's name for it.

    Raises:
        ValueError: a site that the model has not, or texts that cannot be read or are too few.
    """
    work = folder / "work"
    work.mkdir(parents=True, exist_ok=True)
    sites = [lm.check_site(Site.parse(site)) for site in plan.sites]
    train, held = windows_of(plan, lm, work, tick)
    buffer = Buffer(
        lm, train, sites, work / "buffer", most_bytes=int(plan.buffer_gb * 1e9), batch_tokens=plan.batch_tokens,
        seed=plan.recipe.seed, device=lm.device,
    )  # fmt: skip
    trained = {}
    for variant, recipe in plan.recipes.items():
        folder_of = work / "trainers" / variant if variant else work / "trainers"

        def tick_of(what: str, done: int, total: int, shown: dict[str, float], variant: str = variant) -> None:
            tick(place_of(what, variant) if what != "harvest" else what, done, total, shown)

        trained[variant] = train_sites(buffer, recipe, folder_of, tick_of)
    measured: dict[str, dict[str, float]] = {}
    for site in sites:
        norms = buffer.norms[site]
        bench = Bench(lm, held, site, norms.threshold, tokens=plan.measure_tokens, batch_tokens=plan.measure_batch)
        for variant, trainers in trained.items():
            group = finished(trainers[site], norms.scale)
            for member, module in enumerate(group):
                place = place_of(str(site), variant, member if len(group) > 1 else None)
                if plan.half:
                    rounded(module)
                found = measure(bench, module, lambda what, place=place: tick(f"measure {place}, {what}", 0, 0, {}))
                measured[place] = found
                about = _about(plan, lm, train, found, norms, buffer.massive)
                save_dictionary(module, folder / place, site, name or plan.model, about, half=plan.half)
    (folder / "measures.md").write_text(table(list(measured.items())), encoding="utf-8")
    (folder / "measures.json").write_text(json.dumps(measured, indent=1), encoding="utf-8")
    if not keep_work:
        buffer.close()
        shutil.rmtree(work)
    return measured


def place_of(site: str, variant: str, member: int | None = None) -> str:
    """The folder of a dictionary within its plan's: the site, the variant's name, and which of a group it is."""
    return ".".join([site, *([variant] if variant else []), *([] if member is None else [str(member)])])


def _about(
    plan: TrainingPlan, lm: Model, train: Windows, found: dict[str, float], norms: Norms, massive: float
) -> dict[str, Any]:
    """What the saved folder says of its making."""
    bos = lm.tokenizer.bos_token_id
    return {
        "prepend_bos": bos is not None and lm.tokenizer.encode("a")[:1] == [bos],
        "context_size": plan.context,
        "exclude_special_tokens": True,
        "massive_threshold": norms.threshold if norms.threshold < float("inf") else None,
        "median_norm": norms.median,
        "massive_left_out": massive,
        "training_tokens": train.tokens,
        "sources": plan.sources,
        **{name: round(value, 5) for name, value in found.items()},
    }
