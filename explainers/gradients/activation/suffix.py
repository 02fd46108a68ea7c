"""Ask only the part of a network behind a layer: what stands before it gives back what it gave for the same picture.

A first pass of a picture tells which calls of submodules end before the last call of the layer. In later passes their
`forward` returns a copy of what they returned then, and the layer's output is replaced, by a whole batch of changed features of
that one picture. Only what is left runs: the layer itself for one picture, the code between the calls, and the part behind.

Three ways, from cheap to sure: the kept values as they are (a batch of one, which torch broadcasts where both parts meet),
the kept values repeated to the batch (where they are joined by torch.cat), and the whole network. The first that agrees with
the whole network on changed features is taken, and the unchanged features go along in each batch: where their scores do
not come out, the whole network is asked.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from jaxtyping import Float

from explainers.errors import ExplainerError, ModelFailure
from explainers.gradients.capture import _hooked
from explainers.gradients.layers import MapLayer
from explainers.gradients.remembered import Remembered
from explainers.gradients.scores import Score
from explainers.lazily import lazily

if TYPE_CHECKING:
    import torch
else:
    torch = lazily("torch")

Way = Literal["kept", "repeated", "whole"]

#: Scores of the same features may differ by this share of the scores' size: other batch sizes round otherwise.
AGREEMENT = 1e-4


@dataclass
class Before:
    """Calls that end before the last call of the layer.

    Attributes:
        calls: how many outermost ones each submodule has.
        layer_calls: how often the layer itself is called in a whole pass.
    """

    calls: Mapping[torch.nn.Module, int]
    layer_calls: int


@dataclass
class Picture:
    """One picture as the network saw it.

    Attributes:
        x: the picture, a batch of one.
        kept: what the submodules before the layer returned, call by call.
        output: the layer's own output.
        scores: of the picture, ``(1, k)``.
    """

    x: torch.Tensor
    kept: dict[torch.nn.Module, list[Any]] = field(default_factory=dict)
    output: torch.Tensor | None = None
    scores: torch.Tensor | None = None


def calls_before(score: Score, layer: MapLayer, x: Float[torch.Tensor, "1 c h w"]) -> tuple[Before, Picture]:
    """One pass in which every call of a submodule is noted; and what it says of the picture, of which nothing is kept yet."""
    picture = Picture(x)
    called: list[_Noted] = []
    open_calls: list[int] = [-1]

    def begin(module: torch.nn.Module, _arguments: Any) -> None:
        called.append(_Noted(module, open_calls[-1]))
        open_calls.append(len(called) - 1)

    def end(module: torch.nn.Module, _arguments: Any, _output: Any) -> None:
        ended = None
        while ended is not module:  # a call that failed and was forgiven has no end of its own
            call = called[open_calls.pop()]
            call.ended, ended = len(called), call.module

    with contextlib.ExitStack() as hooks, torch.no_grad():
        for module in score.module.modules():
            hooks.callback(module.register_forward_pre_hook(begin).remove)
            hooks.callback(module.register_forward_hook(end).remove)
        hooks.enter_context(_hooked(layer.module, _noted_in(picture)))
        picture.scores = score(x)
    layer.checked(picture.output, 1)
    own = [i for i, call in enumerate(called) if call.module is layer.module]
    calls: dict[torch.nn.Module, int] = {}
    for call in called[: own[-1]] if own else []:
        outermost = call.parent < 0 or called[call.parent].ended > own[-1]
        if call.ended <= own[-1] and outermost and not isinstance(call.module, torch.jit.ScriptModule):
            calls[call.module] = calls.get(call.module, 0) + 1
    return Before(calls, len(own)), picture


def _noted_in(picture: Picture) -> Callable[..., None]:
    """A hook that notes the layer's output."""

    def note(_module: torch.nn.Module, _arguments: Any, output: Any) -> None:
        picture.output = output.clone() if isinstance(output, torch.Tensor) else None

    return note


@dataclass
class _Noted:
    """A call: by which call it was made, and how many had begun when it ended."""

    module: torch.nn.Module
    parent: int
    ended: int = 0


@dataclass
class Behind:
    """The part of a network behind a layer, as a function of the layer's output."""

    score: Score
    layer: MapLayer
    before: Before
    way: Way = "kept"

    @classmethod
    def nothing_kept(cls, score: Score, layer: MapLayer) -> Behind:
        """For who only wants to see what the layer gives."""
        return cls(score, layer, Before({}, 0), "whole")

    def seen(self, x: Float[torch.Tensor, "1 c h w"]) -> Picture:
        """One pass of a picture that keeps what is needed for later ones; one that calls other parts gets a way of its own."""
        picture, calls, whole = Picture(x), [0], self.way == "whole"

        def count(*_: Any) -> None:
            calls[0] += 1

        with _hooked(self.layer.module, _noted_in(picture)), _hooked(self.layer.module, count):
            picture.scores = self.kept(picture)
        kept = {module: len(answers) for module, answers in picture.kept.items()}
        if self.way != "whole" and (calls[0], kept) != (self.before.layer_calls, dict(self.before.calls)):
            found, picture = _tried(self.score, self.layer, x)
            self.before, self.way = found.before, found.way
        elif whole and self.before.layer_calls:
            self.before = dataclasses.replace(self.before, layer_calls=calls[0])
        self.layer.checked(picture.output, 1)
        return picture

    def kept(self, picture: Picture, outputs: torch.Tensor | None = None) -> Float[torch.Tensor, "1 k"]:
        """One pass that keeps what stands before the layer, perhaps with other `outputs` of it ``(1, …)``: its scores."""
        forwards = {} if self.way == "whole" else {m: self._keeping(m, picture) for m in self.before.calls}
        try:
            with contextlib.ExitStack() as changes, torch.no_grad():
                changes.enter_context(_forwards(forwards))
                if outputs is not None:
                    changes.enter_context(_replaced(self.layer.module, outputs, self.before.layer_calls))
                return self.score(picture.x)
        except _NotKept:
            self.way = "whole"
            return self.kept(picture, outputs)

    def _keeping(self, module: torch.nn.Module, picture: Picture) -> Callable[..., Any]:
        forward, kept = module.forward, picture.kept.setdefault(module, [])

        def run(*arguments: Any, **named: Any) -> Any:
            answer = forward(*arguments, **named)
            if len(kept) < self.before.calls[module]:
                kept.append(_copied(answer, 1))
            return answer

        return run

    def __call__(
        self, picture: Picture, outputs: torch.Tensor, way: Way | None = None
    ) -> Float[torch.Tensor, "b k"]:
        """Scores of the picture with other outputs ``(b, …)`` of the layer."""
        way = way or self.way
        count = len(outputs)
        if way == "whole":
            with _replaced(self.layer.module, outputs, self.before.layer_calls):
                return self.score(picture.x.expand(count, -1, -1, -1))
        repeats = count if way == "repeated" else 1

        def given(_module: torch.nn.Module, _arguments: Any) -> tuple[torch.Tensor]:
            return (picture.x.expand(repeats, -1, -1, -1).clone(),)

        forwards = {module: self._returning(module, picture, repeats) for module in self.before.calls}
        handle = self.score.module.register_forward_pre_hook(given)
        last = self.before.calls.get(self.layer.module, 0) + 1
        try:
            with _forwards(forwards), _replaced(self.layer.module, outputs, last):
                return self.score(
                    picture.x.new_empty(count, 0)
                )  # only its length counts: the hook gives the picture
        finally:
            handle.remove()

    def _returning(self, module: torch.nn.Module, picture: Picture, repeats: int) -> Callable[..., Any]:
        forward, kept = module.forward, iter(picture.kept[module])

        def run(*arguments: Any, **named: Any) -> Any:
            for answer in kept:
                return _copied(answer, repeats)
            return forward(*arguments, **named)

        return run


#: What stands before a layer, and the way found, for a picture's size; each picture's own scores tell whether it still holds.
_PARTS: Remembered[tuple[Before, Way]] = Remembered()


def behind(score: Score, layer: MapLayer, x: Float[torch.Tensor, "1 c h w"]) -> tuple[Behind, Picture]:
    """The part behind the layer, asked in the cheapest way that agrees with the whole network for this picture; and that.

    The way is looked for once for a module.
    """
    seen: list[Picture] = []

    def find() -> tuple[Before, Way]:
        part, picture = _tried(score, layer, x)
        seen.append(picture)
        return part.before, part.way

    asked = (layer.name, x.shape[1:], str(x.device), score.kind)
    part = Behind(score, layer, *_PARTS.of(score.module, asked, find))
    return part, seen[0] if seen else part.seen(x)


def _tried(score: Score, layer: MapLayer, x: Float[torch.Tensor, "1 c h w"]) -> tuple[Behind, Picture]:
    """The first of the ways, from the cheapest on, that agrees with the whole network on changed features."""
    before, picture = calls_before(score, layer, x)
    found = Behind(score, layer, before)
    assert picture.output is not None
    assert picture.scores is not None
    changed = torch.cat([picture.output, picture.output.flip(1)])
    truth = torch.cat([picture.scores, found.kept(picture, changed[1:])])
    if found.way != "whole":
        with torch.no_grad():
            found.way = next((way for way in _CHEAP if _agrees(found, picture, changed, truth, way)), "whole")
    return found, picture


_CHEAP: tuple[Way, ...] = ("kept", "repeated")


def _agrees(found: Behind, picture: Picture, changed: torch.Tensor, truth: torch.Tensor, way: Way) -> bool:
    try:
        return agree(found(picture, changed, way), truth)
    except ModelFailure:  # values of different batch sizes met where torch does not broadcast
        return False


def agree(scores: torch.Tensor, others: torch.Tensor) -> bool:
    """Equal up to rounding."""
    return bool((scores - others).abs().max() <= AGREEMENT * others.abs().max().clamp(min=1e-6))


class _NotKept(ExplainerError):
    """A submodule returns something that cannot be copied."""


def _copied(value: Any, repeats: int) -> Any:
    """A copy that later steps may change in place; batches of one repeated."""
    if isinstance(value, torch.Tensor):
        value = value.detach()
        if repeats > 1 and value.ndim > 0 and len(value) == 1:
            value = value.expand(repeats, *value.shape[1:])
        return value.clone()
    if type(value) in (tuple, list):
        return type(value)(_copied(part, repeats) for part in value)
    if type(value) is dict:
        return {key: _copied(part, repeats) for key, part in value.items()}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise _NotKept(type(value).__name__)


@contextlib.contextmanager
def _forwards(forwards: Mapping[torch.nn.Module, Callable[..., Any]]) -> Iterator[None]:
    """Other `forward` functions for a while; hooks stay as they are."""
    missing = object()
    own = {module: module.__dict__.get("forward", missing) for module in forwards}
    try:
        for module, forward in forwards.items():
            module.__dict__["forward"] = forward
        yield
    finally:
        for module, forward in own.items():
            module.__dict__.pop("forward", None)
            if forward is not missing:
                module.__dict__["forward"] = forward


@contextlib.contextmanager
def _replaced(layer: torch.nn.Module, outputs: torch.Tensor, call: int) -> Iterator[None]:
    """The layer's `call`-th call returns a copy of `outputs`."""
    calls = 0

    def hook(_layer: torch.nn.Module, _arguments: Any, output: Any) -> Any:
        nonlocal calls
        calls += 1
        return outputs.clone() if calls == call else output

    with _hooked(layer, hook):
        yield
