"""Attention rollout: seen in any spelling of attention, equal to a plain implementation, refused in words where it cannot be followed."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import torch
from onnx import helper, numpy_helper
from onnx_models import export
from torch import nn
from torch.nn import functional
from torch.overrides import _get_current_function_mode

import explainers as ex
from explainers.device import on_device
from explainers.gradients.attention import _dot_product_attention, attention_layers
from explainers.onnx import OnnxModule, read_graph
from tests.cases import VisionTransformer, network, pictures, vision_transformer

ROLLOUT = ex.AttentionRollout()
SLOW = pytest.mark.slow  # an export takes seconds
GRADIENT = ex.AttentionRollout("gradient")


class Written(nn.Module):
    """The vision transformer of the cases with its attention computed in another way from the same weights."""

    def __init__(self, original, spelling):
        super().__init__()
        self.original, self.spelling = original, spelling
        self.seen = []

    def forward(self, x):
        net = self.original
        patches = net.cut(x).flatten(2).transpose(1, 2)
        first = net.first.weight.reshape(1, 1, 8).expand(len(x), -1, -1)
        y = torch.cat([first, patches], dim=1) + net.place.weight.T
        for block in net.body.layers:
            y = y + self.attend(block.self_attn, block.norm1(y))
            y = y + block.linear2(functional.gelu(block.linear1(block.norm2(y))))
        return net.read(net.norm(y[:, 0]))

    def attend(self, layer, y):
        n, t, e = y.shape
        if self.spelling == "weights":
            return layer(y, y, y, need_weights=True, average_attn_weights=False)[0]
        q, k, v = functional.linear(y, layer.in_proj_weight, layer.in_proj_bias).chunk(3, -1)
        q, k, v = (part.reshape(n, t, 2, e // 2).transpose(1, 2) for part in (q, k, v))
        if self.spelling == "function":
            return layer.out_proj(
                functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, t, e)
            )
        scores = q @ k.transpose(2, 3) / (e // 2) ** 0.5
        if self.spelling == "heads":  # (n * heads, t, t) and bmm
            shares = functional.dropout(
                functional.softmax(scores.reshape(n * 2, t, t), dim=2), 0.1, self.training
            )
            mixed = torch.bmm(shares, v.reshape(n * 2, t, e // 2)).reshape(n, 2, t, e // 2)
        elif self.spelling == "einsum":
            mixed = torch.einsum("nhij,nhjd->nhid", torch.softmax(scores, dim=-1), v)
        else:  # a method, an operator; what the plain implementation looks at
            shares = scores.softmax(-1)
            self.seen.append(shares)
            if shares.requires_grad:
                shares.retain_grad()
            mixed = shares @ v
        return layer.out_proj(mixed.transpose(1, 2).reshape(n, t, e))


def wrapped(module):
    return ex.Model.wrap(module, classes=("a", "b", "c"))


def data():
    return vision_transformer().data


def slow_twin(settings, column):
    """Loops over cases, layers and heads; a backward pass through everything, of one case at a time."""
    net = Written(vision_transformer().model.module[0], "method")
    maps = []
    with on_device(net, torch.device("cpu")):
        for picture in torch.from_numpy(data().X):
            net.seen.clear()
            net(picture[None].requires_grad_())[0, column].backward()
            joint = np.eye(5)
            for shares in net.seen:
                heads, slopes = shares.detach().numpy()[0], shares.grad.numpy()[0]
                if settings.variant == "gradient":
                    mean = sum(np.maximum(heads[h] * slopes[h], 0) for h in range(2)) / 2
                    joint = joint + mean @ joint
                    continue
                fused = {"mean": heads.sum(0) / 2, "max": heads.max(0), "min": heads.min(0)}[settings.head]
                mixed = settings.residual * np.eye(5) + (1 - settings.residual) * fused
                joint = (mixed / mixed.sum(1)[:, None]) @ joint
            maps.append(joint[0, 1:].reshape(1, 2, 2))
    return np.stack(maps)


@pytest.mark.parametrize(
    "settings",
    [
        ROLLOUT,
        ex.AttentionRollout(head="max"),
        ex.AttentionRollout(head="min", residual=0.0),
        ex.AttentionRollout(residual=0.3),
        GRADIENT,
        ex.AttentionRollout("gradient", space="raw"),
    ],
    ids=repr,
)
def test_the_slow_twin_agrees(settings):
    result = ex.explain(vision_transformer().model, data(), settings, target="b")
    twin = slow_twin(settings, 1)
    assert twin.max() > 1e-3
    np.testing.assert_allclose(result.diagnostics["map"], twin, rtol=1e-4, atol=1e-7)
    large = torch.nn.functional.interpolate(
        torch.from_numpy(twin).float(), size=(8, 8), mode="bilinear", align_corners=False
    )
    np.testing.assert_allclose(result.values, large.numpy(), rtol=1e-4, atol=1e-7)
    assert result.diagnostics["layers"] == 2
    assert result.diagnostics["read at"] == "class token"


def other_spelling(name):
    original = vision_transformer().model.module[0]
    if name == "onnx":
        return OnnxModule(
            read_graph(export(network(VisionTransformer(), seed=6).eval(), (1, 8, 8), default=False))
        )
    return Written(original, name)


@pytest.mark.parametrize(
    "name", ["weights", "function", "heads", "einsum", "method", pytest.param("onnx", marks=SLOW)]
)
def test_every_spelling_of_attention_is_seen(name):
    model = wrapped(other_spelling(name))
    assert ex.why_not(ROLLOUT, model, data()) is None
    for settings, target in ((ROLLOUT, "a"), (GRADIENT, "a"), (GRADIENT, "all")):
        found = ex.explain(model, data(), settings, target=target)
        wanted = ex.explain(vision_transformer().model, data(), settings, target=target)
        np.testing.assert_allclose(found.values, wanted.values, rtol=1e-4, atol=1e-7)
        np.testing.assert_allclose(found.output, wanted.output, atol=1e-5)
        assert wanted.values.max() > 1e-3


class OneLayer(nn.Module):
    """Steps that attend by their products; the answer is the mean of what they see, weighed."""

    weights = (0.5, -1.0, 2.0)

    def forward(self, x):
        shares = torch.softmax(x @ x.transpose(1, 2), -1)
        return (shares @ x).mean(1) @ torch.tensor(self.weights)


def test_the_closed_form_of_one_layer():
    x = np.random.default_rng(0).normal(size=(4, 5, 3)).astype(np.float32)
    model, cases = ex.Model.wrap(OneLayer()), ex.Dataset.from_sequences(x)
    shares = np.exp(x @ x.transpose(0, 2, 1))
    shares /= shares.sum(2, keepdims=True)
    rolled = ex.explain(model, cases, ROLLOUT)
    np.testing.assert_allclose(rolled.values[..., 0], 0.5 / 5 + 0.5 * shares.mean(1), rtol=1e-5)
    np.testing.assert_allclose(rolled.values.sum(1), 1.0, rtol=1e-5)
    slope = (x @ np.array(OneLayer.weights))[:, None] / 5
    weighed = ex.explain(model, cases, GRADIENT)
    np.testing.assert_allclose(
        weighed.values[..., 0], np.maximum(shares * slope, 0).mean(1), rtol=1e-4, atol=1e-7
    )
    assert rolled.diagnostics["read at"] == "mean over all tokens"
    assert np.isnan(rolled.base_value).all()
    np.testing.assert_allclose(rolled.output, model.predict(x)[:, 0], rtol=1e-5)


def test_without_a_residual_all_weight_follows_the_attention():
    x = np.zeros((1, 4, 3), dtype=np.float32)
    x[0, 2] = 5.0  # every other step sees all alike, this one itself
    result = ex.explain(
        ex.Model.wrap(OneLayer()), ex.Dataset.from_sequences(x), ex.AttentionRollout(residual=0.0)
    )
    np.testing.assert_allclose(result.values[0, :, 0], [3 / 16, 3 / 16, 7 / 16, 3 / 16], rtol=1e-5)


def test_the_rollout_is_the_same_for_every_class_and_says_so():
    model = vision_transformer().model
    every = {settings: ex.explain(model, data(), settings, target="all") for settings in (ROLLOUT, GRADIENT)}
    np.testing.assert_array_equal(every[ROLLOUT].values[..., 0], every[ROLLOUT].values[..., 2])
    assert np.abs(every[GRADIENT].values[..., 0] - every[GRADIENT].values[..., 2]).max() > 1e-3
    assert "same for every class" in every[ROLLOUT].diagnostics["notes"][0]
    assert not any("same for every class" in note for note in every[GRADIENT].diagnostics["notes"])
    for settings, result in every.items():
        one = ex.explain(model, data(), settings, target="c")
        np.testing.assert_allclose(result.values[..., 2], one.values, atol=1e-6)


def test_a_contrast_is_differentiated_as_one_score():
    model = vision_transformer().model
    result = ex.explain(model, data(), GRADIENT, target=ex.Contrast("a", "b"))
    difference = ex.Model.wrap(Difference(model.module))
    wanted = ex.explain(difference, data(), GRADIENT)
    np.testing.assert_allclose(result.values, wanted.values, atol=1e-6)
    assert result.values.max() > 1e-3


class Difference(nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x):
        scores = self.module(x)
        return scores[:, 0] - scores[:, 1]


# torch's fused path


def test_the_fused_path_does_not_hide_attention():
    model = vision_transformer().model
    assert torch.backends.mha.get_fastpath_enabled()
    found = ex.explain(model, data(), ROLLOUT)
    assert torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        again = ex.explain(model, data(), ROLLOUT)
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
    np.testing.assert_allclose(found.values, again.values, atol=1e-6)
    assert found.values.max() > 1e-3


def test_a_fused_step_is_refused_in_words():
    def run():
        eye = torch.eye(4)
        torch._native_multi_head_attention(
            *[torch.zeros(1, 2, 4)] * 3, 4, 2, torch.zeros(12, 4), torch.zeros(12), eye, torch.zeros(4)
        )

    with torch.no_grad():
        run()
    with pytest.raises(ex.InvalidSetting, match="set_fastpath_enabled"):
        attention_layers(run)


@pytest.mark.parametrize("kind", ["plain", "causal", "closed", "added", "scaled", "shared"])
def test_torchs_attention_function_is_written_out_faithfully(kind):
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 4, 5, 3, generator=generator) for _ in range(3))
    mask = torch.rand(5, 5, generator=generator) > 0.4
    mask[2] = False  # sees nothing
    options = {
        "causal": {"is_causal": True},
        "closed": {"attn_mask": mask},
        "added": {"attn_mask": torch.randn(2, 1, 5, 5, generator=generator)},
        "scaled": {"scale": 0.3},
        "shared": {"enable_gqa": True},
    }.get(kind, {})
    if kind == "shared":
        k, v = k[:, :2], v[:, :2]
    wanted = functional.scaled_dot_product_attention(q, k, v, **options)
    torch.testing.assert_close(_dot_product_attention(q, k, v, **options), wanted, rtol=1e-5, atol=1e-6)


# nothing is left behind


def stop(done, total):
    raise ex.Cancelled("enough")


class Failing(VisionTransformer):
    """Runs once in full, so that its attention is known, and fails behind its layers from then on."""

    runs = 0

    def forward(self, x):
        self.runs += 1
        scores = super().forward(x)
        if self.runs > 2:
            raise ValueError("broken")
        return scores


@pytest.mark.parametrize("settings", [ROLLOUT, GRADIENT], ids=repr)
@pytest.mark.parametrize("end", ["success", "error", "cancel"])
def test_modes_flags_and_weights_are_as_before(settings, end):
    module = network(Failing() if end == "error" else VisionTransformer(), seed=6).train()
    module[0].norm.eval()
    before = [(part.training, dict(part._forward_hooks)) for part in module.modules()]
    weights = {name: value.clone() for name, value in module.state_dict().items()}
    model = wrapped(module)
    if end == "success":
        ex.explain(model, data(), settings, target="a")
    else:
        kind, progress = (ex.ModelFailure, None) if end == "error" else (ex.Cancelled, stop)
        with pytest.raises(kind):
            ex.explain(model, data(), settings, target="a", progress=progress)
    assert _get_current_function_mode() is None
    assert [(part.training, dict(part._forward_hooks)) for part in module.modules()] == before
    assert all(p.requires_grad and p.grad is None for p in module.parameters())
    assert all(torch.equal(value, weights[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize("settings", [ROLLOUT, GRADIENT], ids=repr)
def test_one_case_is_its_slice_of_the_batch(settings):
    model = vision_transformer().model
    whole = ex.explain(model, data(), settings, target="a")
    one = ex.explain(model, data(), settings, rows=[3], target="a")
    np.testing.assert_allclose(one.values[0], whole.values[3], atol=1e-6)


def test_a_model_is_forgotten_with_what_was_found_about_it():
    from explainers.methods import attention_rollout

    model = wrapped(network(VisionTransformer(), seed=6))
    assert ex.why_not(ROLLOUT, model, data()) is None
    count = len(attention_rollout._REFUSED)
    del model
    gc.collect()
    assert len(attention_rollout._REFUSED) < count


# tokens and patches


class Tokens(nn.Module):
    """Patches of a picture behind some further tokens."""

    def __init__(self, extra):
        super().__init__()
        self.extra = extra

    def forward(self, x):
        y = functional.unfold(x, 4, stride=4).transpose(1, 2)
        y = torch.cat([torch.full((len(y), self.extra, y.shape[2]), 0.1), y], 1)
        return functional.scaled_dot_product_attention(y, y, y, scale=1.0).mean((1, 2))


@pytest.mark.parametrize("extra", [0, 1, 4])
def test_registers_are_left_out_and_patches_stand_row_by_row(extra):
    X = np.zeros((1, 1, 8, 16), dtype=np.float32)
    X[0, 0, 4:, 8:12] = 1.0  # the third patch of the second row
    result = ex.explain(ex.Model.wrap(Tokens(extra)), ex.Dataset.from_images(X), ROLLOUT)
    assert result.diagnostics["tokens"] == 8 + extra
    assert result.diagnostics["map"].shape == (1, 1, 2, 4)
    assert result.values.shape == (1, 1, 8, 16)
    assert result.diagnostics["map"][0, 0].argmax() == 6
    assert result.diagnostics["read at"] == ("class token" if extra else "mean over all tokens")


class Windows(nn.Module):
    def forward(self, x):
        y = x.reshape(len(x) * 2, 1, 32, 1)
        return functional.scaled_dot_product_attention(y, y, y).reshape(len(x), -1).mean(1)


class Pyramid(nn.Module):
    def forward(self, x):
        for patch in (4, 2):
            y = functional.unfold(x, patch, stride=patch).transpose(1, 2)[:, None]
            answer = functional.scaled_dot_product_attention(y, y, y)
        return answer.mean((1, 2, 3))


class Gate(nn.Module):
    """A softmax over a square that no product uses."""

    def forward(self, x):
        return (x * x.softmax(-1)).mean((1, 2, 3))


@pytest.mark.parametrize(
    ("module", "match"),
    [
        (
            nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, 1)),
            "Needs attention that can be seen",
        ),
        (Gate(), "No attention was found"),
        (Windows(), r"computed in 2 windows, of which none sees the whole case"),
        (Pyramid(), r"different numbers of tokens \(4, 16\)"),
        (Tokens(31), "35 tokens, which are no grid of patches of a picture of 8 × 8"),
    ],
    ids=["convolutions", "gate", "windows", "pyramid", "no grid"],
)
def test_what_cannot_be_followed_is_refused_in_words(module, match):
    model, cases = ex.Model.wrap(module), ex.Dataset.from_images(pictures(2))
    with pytest.raises(ex.NotApplicable, match=match):
        ex.explain(model, cases, ROLLOUT)


def test_sequences_whose_steps_are_joined_are_refused():
    class Halved(nn.Module):
        def forward(self, x):
            y = x.reshape(len(x), 3, 4)
            return functional.scaled_dot_product_attention(y, y, y).mean((1, 2))

    cases = ex.Dataset.from_sequences(np.ones((2, 6, 2)))
    with pytest.raises(ex.NotApplicable, match=r"over 3 tokens; the sequences have 6 steps"):
        ex.explain(ex.Model.wrap(Halved()), cases, ROLLOUT)


def test_a_module_that_fails_says_so_itself():
    class Broken(nn.Module):
        def forward(self, x):
            raise RuntimeError("no way")

    model = ex.Model.wrap(Broken())
    assert ex.why_not(ROLLOUT, model, data()) is None
    with pytest.raises(ex.ModelFailure, match="no way"):
        ex.explain(model, data(), ROLLOUT)


# ONNX files


def sequence_file(*nodes, opset=23, batch="batch"):
    """From x (batch, 4, 3) to y (batch, 3)."""
    ends = [helper.make_tensor_value_info(*end) for end in (("x", 1, [batch, 4, 3]), ("y", 1, [batch, 3]))]
    held = [numpy_helper.from_array(np.array([1]), "one")]
    graph = helper.make_graph(
        [*nodes, helper.make_node("ReduceMean", ["seen", "one"], ["y"], keepdims=0)],
        "g",
        ends[:1],
        ends[1:],
        held,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    return model.SerializeToString()


ATTENTION = helper.make_node("Attention", ["x", "x", "x"], ["seen"], q_num_heads=1, kv_num_heads=1, scale=1.0)
NAMED = [
    helper.make_node("Transpose", ["x"], ["k"], perm=[0, 2, 1]),
    helper.make_node("MatMul", ["x", "k"], ["scores"]),
    helper.make_node("Softmax", ["scores"], ["shares"], axis=-1),
]


@pytest.mark.parametrize(
    "nodes", [[ATTENTION], [*NAMED, helper.make_node("MatMul", ["shares", "x"], ["seen"])]]
)
def test_attention_in_a_file_is_seen(nodes):
    x = np.random.default_rng(3).normal(size=(3, 4, 3)).astype(np.float32)
    cases = ex.Dataset.from_sequences(x)
    model = ex.load_model(sequence_file(*nodes))
    assert "attention" in model.abilities
    shares = np.exp(x @ x.transpose(0, 2, 1))
    shares /= shares.sum(2, keepdims=True)
    result = ex.explain(model, cases, ROLLOUT, target=1)
    np.testing.assert_allclose(result.values[..., 0], 0.5 / 4 + 0.5 * shares.mean(1), rtol=1e-5)


@SLOW
def test_a_file_for_one_case_is_explained_case_by_case():
    original = network(VisionTransformer(), seed=6).eval()
    model = ex.load_model(
        export(original, (1, 8, 8), default=False, fixed_batch=True), classes=("a", "b", "c")
    )
    assert model.module.one_at_a_time
    for settings in (ROLLOUT, GRADIENT):
        found, wanted = (ex.explain(m, data(), settings, target="a") for m in (model, wrapped(original)))
        np.testing.assert_allclose(found.values, wanted.values, rtol=1e-4, atol=1e-7)


def test_a_file_with_an_operator_that_stops_gradients_names_it():
    det = [helper.make_node("MatMul", ["shares", "x"], ["a"]), helper.make_node("Shrink", ["a"], ["seen"])]
    model = ex.load_model(sequence_file(*NAMED, *det))
    cases = ex.Dataset.from_sequences(np.ones((2, 4, 3)))
    reason = ex.why_not(ROLLOUT, model, cases)
    assert reason.startswith("Needs attention that can be seen")
    assert "operator(s) Shrink" in reason
    assert "operator(s) Shrink" in ex.why_not(ex.Saliency, model, cases)
    assert model.predict(cases.X).shape == (2, 3)


def test_the_kind_of_a_softmax_in_a_file_is_told_apart():
    gated = [
        *NAMED,
        helper.make_node("MatMul", ["scores", "x"], ["a"]),
        helper.make_node("Softmax", ["a"], ["seen"]),
    ]
    assert "attention" not in ex.load_model(sequence_file(*gated)).abilities
