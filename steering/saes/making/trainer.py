"""The optimizer's loop: batches in, trained dictionaries out, with checkpoints to go on from after a kill."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from ...jobs.files import write_atomically
from ..comparing.matching import REMATCH, WARM_UP, Mutual, imbalance
from .losses import Dictionary, dictionary
from .recipe import COUNTED, SaeRecipe

# Called after every step with done and total, in activations seen, and every LOOK_EVERY steps with measures of the
# batch: loss, variance, l0, dead.
Tick = Callable[[int, int, dict[str, float]], None]
# Steps between two looks at what fires; each costs a synchronization of the device.
LOOK_EVERY = REMATCH
# How far the weight of a penalty may go after the number of features that fire (`SaeRecipe.aim`): over a
# training by a factor of NEAR ** FOLLOW at most; the nearer the aim, the slower it goes.
FOLLOW, NEAR = 10.0, 4.0
MOST_NEW = 3  # how often a dictionary of a group is drawn anew at most


class Trainer:
    """A group of dictionaries (mostly one) of a recipe and its optimizer; `train` goes on where it is.

    Deterministic: the same recipe, batches and device give the same dictionaries, in one go or from a checkpoint.
    """

    def __init__(self, recipe: SaeRecipe, d_in: int, device: torch.device | str = "cpu") -> None:
        self.recipe, self.d_in, self.device = recipe, d_in, torch.device(device)
        self.group = [dictionary(recipe, d_in, recipe.seed + member).to(device) for member in range(recipe.group)]
        self.step, self.drawn = 0, [0] * recipe.group
        self._optimizers = [self._optimizer(member) for member in self.group]
        self._mutual = Mutual()
        # Steps since each feature of each dictionary last fired, and how many tokens each fired on since the last look.
        self._silent = torch.zeros(recipe.group, recipe.d_sae, dtype=torch.int32, device=device)
        self._fired = torch.zeros(recipe.group, recipe.d_sae, device=device)
        self._dead: list[Tensor | None] = [None] * recipe.group
        self.weight = torch.ones(recipe.group, device=device)  # of the penalty, times the recipe's; moves with an aim

    def _optimizer(self, member: Dictionary) -> torch.optim.Adam:
        fused = self.device.type == "cuda"
        return torch.optim.Adam(member.parameters(), lr=self.recipe.learning_rate, fused=fused)

    @property
    def patience(self) -> int:
        """Steps without firing after which a feature is dead: a twentieth of the training, at most 500,000 tokens."""
        return max(10, min(self.recipe.steps // 20, 500_000 // self.recipe.batch))

    def rate(self, step: int) -> float:
        """The learning rate of a step: a short rise, the recipe's value, and a linear fall over the last 30%."""
        steps = self.recipe.steps
        rise, fall = max(1, min(500, steps // 20)), max(1, int(0.3 * steps))
        return self.recipe.learning_rate * min((step + 1) / rise, 1.0, max((steps - step) / fall, 0.0))

    def train(self, batches: Iterable[Float[Tensor, "batch d_in"]], tick: Tick | None = None) -> None:
        """Train on batches until they or the recipe's steps end. `tick` may raise, which stops between two steps."""
        for x in batches:
            if self.step >= self.recipe.steps:
                return
            looks = (self.step + 1) % LOOK_EVERY == 0 or self.step + 1 == self.recipe.steps
            shown = self._one_step(x.to(self.device, torch.float32), looks)
            self.step += 1
            if tick is not None:
                tick(self.step * self.recipe.batch, self.recipe.steps * self.recipe.batch, shown)

    def _one_step(self, x: Tensor, looks: bool) -> dict[str, float]:
        if self.step == 0:
            for member in self.group:
                member.b_dec.data.copy_(x.mean(0))
        # A penalty counts in full after a fifth of the training; before, features would die that were never tried. One
        # with an aim begins small and finds its weight.
        warm = min(1.0, (self.step + 1) / max(1, self.recipe.steps // 5))
        found = []
        for member, dead, weight in zip(self.group, self._dead, self.weight, strict=True):
            member.train()
            found.append(member.loss(x, dead, weight if self.recipe.aim else warm))
        total = torch.stack([loss.total for loss in found]).sum()
        if self.recipe.mutual:
            apart = self._mutual.loss([member.W_dec for member in self.group], self.step)
            total = total + self.recipe.mutual * apart
        for optimizer in self._optimizers:
            optimizer.zero_grad(set_to_none=True)
        total.backward()
        for member, optimizer in zip(self.group, self._optimizers, strict=True):
            member.tangent_gradient()
            for part in optimizer.param_groups:
                part["lr"] = self.rate(self.step)
            optimizer.step()
            member.keep_unit_rows()
        return self._look(x, found, looks)

    @torch.no_grad()
    def _look(self, x: Tensor, found: list, looks: bool) -> dict[str, float]:
        active = torch.stack([(loss.features > 0).sum(0) for loss in found])
        self._silent = torch.where(active > 0, 0, self._silent + 1)
        self._fired += active
        if self.recipe.aim:
            fires = active.sum(-1) / len(x)
            pace = min(0.5, FOLLOW / self.recipe.steps)
            self.weight *= (fires / self.recipe.aim).clamp(1 / NEAR, NEAR) ** pace
        if not looks:
            return {}
        dead = self._silent > self.patience
        if self.recipe.architecture in COUNTED:
            self._dead = [row if bool(row.any()) else None for row in dead]
        if (self.step + 1) % WARM_UP == 0:
            if self.recipe.reinitialize_above is not None:
                self._draw_anew(len(x))
            self._fired.zero_()
        spread = (x - x.mean(0)).square().sum(-1).mean()
        error = torch.stack([(x - loss.reconstruction).square().sum(-1).mean() for loss in found]).mean()
        return {
            "loss": float(torch.stack([loss.total for loss in found]).mean()),
            "variance": float(1 - error / spread),
            "l0": float(active.sum() / len(x) / len(found)),
            "dead": float(dead.float().mean()),
        }

    def _draw_anew(self, batch: int) -> None:
        """Replace a dictionary whose features fire too unequally, in the first fifth of the training."""
        assert self.recipe.reinitialize_above is not None
        if self.step > self.recipe.steps // 5:
            return
        for place in range(self.recipe.group):
            rates = self._fired[place] / (batch * WARM_UP)
            wanted = float(rates.mean())
            unequal = wanted == 0 or imbalance(rates, wanted) > self.recipe.reinitialize_above
            if unequal and self.drawn[place] < MOST_NEW:
                self.drawn[place] += 1
                seed = self.recipe.seed + place + 1_000 * self.drawn[place]
                fresh = dictionary(self.recipe, self.d_in, seed).to(self.device)
                fresh.b_dec.data.copy_(self.group[place].b_dec.data)
                self.group[place] = fresh
                self._optimizers[place] = self._optimizer(fresh)
                self._silent[place], self._dead[place] = 0, None

    # Checkpoints ----------------------------------------------------------------------------------------------------

    def save(self, path: Path) -> None:
        """Write everything that the rest of the training depends on, in one file; the old one stays until it is whole.

        Only after a tick with measures: the next step then matches the features of a group anew.
        """
        none = torch.zeros(self.recipe.d_sae, dtype=torch.bool)
        dead = torch.stack([none if row is None else row.cpu() for row in self._dead])
        tensors = {"silent": self._silent, "fired": self._fired, "dead": dead, "weight": self.weight}
        for place, (member, optimizer) in enumerate(zip(self.group, self._optimizers, strict=True)):
            tensors |= {f"{place}.weight.{name}": tensor for name, tensor in member.state_dict().items()}
            for number, state in optimizer.state_dict()["state"].items():
                tensors |= {f"{place}.adam.{number}.{name}": torch.as_tensor(value) for name, value in state.items()}
        about = {"step": self.step, "drawn": self.drawn, "recipe": repr(self.recipe), "saved": time.time()}
        cpu = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
        write_atomically(path, save(cpu, {"about": json.dumps(about)}))

    def load(self, path: Path) -> None:
        """Continue from a checkpoint.

        Raises:
            ValueError: it belongs to another recipe.
        """
        with safe_open(path, "pt") as file:
            about = json.loads(file.metadata()["about"])
            tensors = {name: file.get_tensor(name).to(self.device) for name in file.keys()}  # noqa: SIM118
        if about["recipe"] != repr(self.recipe):
            raise ValueError(
                f"The unfinished training at {str(path)!r} was begun with {about['recipe']}; this one is "
                f"{self.recipe!r}. Train into another folder, or delete that file."
            )
        self.step, self.drawn = int(about["step"]), list(about["drawn"])
        self._silent, self._fired = tensors.pop("silent"), tensors.pop("fired")
        self.weight = tensors.pop("weight")
        self._dead = [row if bool(row.any()) else None for row in tensors.pop("dead")]
        for place, (member, optimizer) in enumerate(zip(self.group, self._optimizers, strict=True)):
            named = {name: tensors[f"{place}.weight.{name}"] for name in member.state_dict()}
            member.load_state_dict(named)
            whole, prefix = optimizer.state_dict(), f"{place}.adam."
            adam: dict[int, dict[str, Tensor]] = {}
            for name, tensor in tensors.items():
                if name.startswith(prefix):
                    number, what = name.removeprefix(prefix).split(".")
                    # The step count lives on the CPU unless the optimizer is fused.
                    keeps = what == "step" and self.device.type != "cuda"
                    adam.setdefault(int(number), {})[what] = tensor.cpu() if keeps else tensor
            optimizer.load_state_dict({**whole, "state": adam})
