"""Games: coalition values against pictures painted and texts rewritten by hand, and the players of each case."""

from __future__ import annotations

import functools
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import explainers as ex
from dashboard.workers import answers, codec
from explainers.device import pick
from explainers.explainer import Problem
from explainers.games.features import FeatureGame
from explainers.games.opening import game_of, placed
from explainers.games.segmentation import grid, segment_means, superpixels
from explainers.games.segments import SegmentGame
from explainers.games.sharing import distinct
from explainers.games.tokens import TokenGame
from explainers.masking import blurred
from explainers.staged import Mixture
from explainers.wrapping import torch_mixtures
from tests.cases import annotations_not_executed, mixed_table_classifier, network, numbers, pictures
from tests.reference import background_game, shapley_values

TEXTS = [
    "The film is good, good; the plot is not.",
    "Schade – der Film, ein Ärgernis!\n\tNaïve café 映画は 悪い",
    "one",
    "",
    " ... !? ",
    "The film is good, good; the plot is not.",
    "_a-b_ c's 3.5\r\nc",
]


class Counting:
    """A function that remembers what it was asked."""

    def __init__(self, function):
        self.function = function
        self.asked = []

    def __call__(self, X):
        self.asked.append(list(X) if isinstance(X, list) else X.copy())
        return self.function(X)

    @property
    def rows(self):
        return sum(map(len, self.asked))


def curved(X):
    """Two outputs, not linear in the pixels; one picture at a time, as a larger matrix product rounds otherwise."""
    pixels = int(np.prod(X.shape[1:]))
    weights = np.random.default_rng(1).normal(size=(pixels, 2)) * (2 / pixels**0.5)
    return np.array([np.tanh(x.ravel().astype(np.float64) @ weights) ** 3 for x in X]).reshape(-1, 2)


def of_words(texts):
    """Two outputs that depend on length, on capitals and on the order of words."""
    return np.array(
        [[len(t) / 10, sum((i + 1) * ord(c) for i, c in enumerate(t)) / 1e4] for t in texts]
    ).reshape(-1, 2)


def problem_of(function, data, target="all", rows=None):
    cases = data if rows is None else data.take(rows)
    model = function if isinstance(function, ex.Model) else ex.Model.wrap(function)
    return Problem(model, data, cases, target, None, pick("cpu"))


def coalitions(game, each=4, seed=0):
    """The positions of the cases, shuffled and repeated, with random masks, all players and none among them."""
    rng = np.random.default_rng(seed)
    m, u = game.players.shape
    which = rng.permutation(np.repeat(np.arange(m), each))
    masks = rng.random((len(which), u)) < rng.choice([0.0, 0.3, 0.7, 1.0], len(which))[:, None]
    return which, masks


def painted(picture, segments, fill, mask):
    """Pixel by pixel."""
    out = picture.copy()
    for row in range(segments.shape[0]):
        for column in range(segments.shape[1]):
            if not mask[segments[row, column]]:
                out[:, row, column] = fill[:, row, column]
    return out


def mean_colours(picture, segments):
    """Segment by segment."""
    out = picture.copy()
    for segment in np.unique(segments):
        for channel in out:
            channel[segments == segment] = channel[segments == segment].mean(dtype=np.float64)
    return out


def half_dark(n=3, channels=1, side=12):
    """Noise on the left, black on the right: half of the segments look like a black fill."""
    X = pictures(n, channels=channels, side=side)
    X[..., side // 2 :] = 0.0
    return X


@pytest.mark.parametrize(("channels", "segments"), [(1, "grid"), (3, "superpixels"), (5, "superpixels")])
@pytest.mark.parametrize("baseline", [0.25, "segment", "mean", "blur"])
def test_pictures_painted_by_hand_have_the_same_values(channels, segments, baseline):
    X = np.random.default_rng(channels).random((3, channels, 9, 12)).astype(np.float32)
    data = ex.Dataset(X, ex.Schema(modality="image", shape=X.shape[1:]))
    problem = problem_of(curved, data)
    game = SegmentGame.of(problem, "target", segments, 8, baseline)
    which, masks = coalitions(game)
    fills = {
        "mean": lambda i: X.mean(axis=0),
        "blur": lambda i: blurred(X[i : i + 1])[0],
        "segment": lambda i: mean_colours(X[i], game.segments[i]),
    }
    fill = fills.get(baseline, lambda i: np.full(X.shape[1:], 0.25, dtype=np.float32))
    twin = curved(
        np.stack(
            [painted(X[i], game.segments[i], fill(i), mask) for i, mask in zip(which, masks, strict=True)]
        )
    )
    np.testing.assert_allclose(game.values(which, masks)[:, 0], twin, atol=1e-5)
    assert np.ptp(twin) > 0.1
    full, empty = game.alone()
    np.testing.assert_array_equal(full, problem.predictions)
    np.testing.assert_allclose(empty[:, 0], curved(np.stack([fill(i) for i in range(3)])), atol=1e-5)


def test_absent_segments_are_what_lime_shows():
    X = pictures(1, channels=3, side=16)
    game = SegmentGame.of(problem_of(curved, ex.Dataset.from_images(X)), "target", about=9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from lime.lime_image import LimeImageExplainer

        seen = Counting(lambda batch: np.zeros((len(batch), 1)))
        found = LimeImageExplainer(random_state=0).explain_instance(
            np.moveaxis(X[0], 0, 2).astype(np.float64), seen, labels=(0,), num_samples=20, top_labels=None,
            segmentation_fn=lambda _: game.segments[0],
        )  # fmt: skip
    assert np.array_equal(found.segments, game.segments[0])
    shown = np.moveaxis(np.concatenate([np.asarray(batch) for batch in seen.asked]), 3, 1)
    masks = np.array(
        [[(x == X[0])[:, game.segments[0] == s].all() for s in range(game.segments.max() + 1)] for x in shown]
    )
    assert 0.2 < masks.mean() < 0.8
    np.testing.assert_allclose(game.painted(np.zeros(20, np.int64), masks), shown, atol=1e-6)


def test_segments_number_from_nought_without_gaps_and_repeat_themselves():
    smooth = np.add.outer(np.arange(40.0), np.arange(30.0))[None].astype(np.float32)
    for picture in (
        smooth,
        np.zeros_like(smooth),
        pictures(1, 3, 32)[0],
        pictures(1, 2, 32)[0],
        np.zeros((1, 1, 1), np.float32),
    ):
        for about in (1, 5, 60):
            found = superpixels(picture, about)
            assert found.shape == picture.shape[1:]
            assert np.array_equal(np.unique(found), np.arange(found.max() + 1))
            assert np.array_equal(found, superpixels(picture.copy(), about))
            wanted = min(about, found.size)
            assert wanted / 2 <= found.max() + 1 <= 2 * wanted


def test_superpixels_follow_an_edge():
    picture = np.zeros((1, 24, 24), dtype=np.float32)
    picture[:, :, 7:] = 1.0
    found = superpixels(picture, 6)
    assert not set(found[:, :7].ravel()) & set(found[:, 7:].ravel())


@pytest.mark.parametrize(
    ("height", "width", "about", "cells"),
    [(8, 8, 16, 16), (8, 8, 1, 1), (6, 12, 8, 8), (3, 3, 100, 9), (1, 7, 3, 3), (7, 1, 3, 3), (10, 10, 9, 9)],
)
def test_a_grid_has_about_as_many_squares_as_asked_for(height, width, about, cells):
    found = grid(height, width, about)
    assert np.array_equal(np.unique(found), np.arange(cells))
    _, sizes = np.unique(found, return_counts=True)
    assert sizes.max() <= 2.5 * sizes.min()
    for cell in range(cells):  # a rectangle
        rows, columns = np.nonzero(found == cell)
        assert len(rows) == len(np.unique(rows)) * len(np.unique(columns))


def test_segments_that_look_like_their_fill_do_not_play():
    data = ex.Dataset.from_images(half_dark())
    game = SegmentGame.of(problem_of(curved, data), "target", "grid", 16, 0.0)
    dark = np.array([[False, False, True, True]] * 4).ravel()
    np.testing.assert_array_equal(game.players, [~dark] * 3)
    with_dark = np.tile(~dark, (3, 1))
    np.testing.assert_array_equal(game.values(np.arange(3), with_dark)[:, 0], game.alone()[0])
    assert SegmentGame.of(problem_of(curved, data), "target", "grid", 16, 0.0, all_play=True).players.all()
    means = SegmentGame.of(problem_of(curved, data), "target", "grid", 16)
    np.testing.assert_array_equal(means.players, game.players)


def test_a_picture_with_fewer_segments_is_padded():
    X = np.zeros((2, 1, 16, 16), dtype=np.float32)
    X[0] = np.add.outer(np.arange(16.0), np.arange(16.0)) / 30
    X[1, :, :, 8:] = 1.0
    problem = problem_of(curved, ex.Dataset.from_images(X))
    for game in (
        SegmentGame.of(problem, "target", about=7),
        SegmentGame.of(problem, "target", about=7, all_play=True),
    ):
        own = game.segments.max(axis=(1, 2)) + 1
        assert game.players.shape == (2, own.max())
    np.testing.assert_array_equal(game.players, np.arange(own.max()) < own[:, None])
    assert own[0] != own[1]


def test_values_are_painted_on_maps_whole():
    game = SegmentGame.of(problem_of(curved, ex.Dataset.from_images(half_dark())), "target", "grid", 9)
    values = np.random.default_rng(0).normal(size=(*game.players.shape, 2))
    maps = game.shaped(values)
    assert maps.shape == (3, 1, 12, 12, 2)
    for i in range(3):
        for row in range(12):
            for column in range(12):
                np.testing.assert_array_equal(
                    maps[i, 0, row, column], values[i, game.segments[i, row, column]]
                )
    np.testing.assert_array_equal(game.shaped(values[..., 0]), maps[..., 0])
    facts = game.facts(values)
    np.testing.assert_array_equal(facts["segments"], game.segments)
    np.testing.assert_array_equal(facts["segment_values"], values)


def test_the_output_explained_is_the_target_of_each_case():
    model = ex.Model.wrap(curved, classes=["no", "yes"], output="raw")
    data = ex.Dataset.from_images(pictures(4))
    both = SegmentGame.of(problem_of(model, data), "raw", "grid", 4)
    which, masks = coalitions(both)
    one = SegmentGame.of(problem_of(model, data, target="no"), "raw", "grid", 4)
    np.testing.assert_array_equal(one.values(which, masks), both.values(which, masks)[..., :1])
    np.testing.assert_array_equal(one.alone()[0], both.alone()[0][:, :1])


def test_equal_coalitions_of_a_picture_are_asked_once():
    counting = Counting(curved)
    game = SegmentGame.of(problem_of(counting, ex.Dataset.from_images(pictures(2))), "target", "grid", 4)
    which = np.tile([0, 1], 40)
    masks = np.random.default_rng(0).random((80, 4)) < 0.5
    found = game.values(which, masks)
    assert counting.rows == len({(i, tuple(mask)) for i, mask in zip(which, masks, strict=True)}) <= 32
    one_by_one = [game.values(which[i : i + 1], masks[i : i + 1])[0] for i in range(80)]
    np.testing.assert_array_equal(found, one_by_one)


def test_players_that_do_not_play_change_nothing_and_cost_nothing():
    counting = Counting(curved)
    game = SegmentGame.of(
        problem_of(counting, ex.Dataset.from_images(half_dark(1))), "target", "grid", 16, 0.0
    )
    masks = np.zeros((2, 16), dtype=bool)
    masks[1] = ~game.players[0]
    found = game.values(np.zeros(2, np.int64), masks)
    assert counting.rows == 1
    np.testing.assert_array_equal(found[0], found[1])


def test_a_torch_module_answers_where_the_problem_says_and_is_put_back():
    module = network(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Dropout(0.5), nn.Linear(72, 3), seed=0).train()
    data = ex.Dataset.from_images(pictures())
    problem = problem_of(ex.Model.wrap(module, classes=["a", "b", "c"]), data)
    game = SegmentGame.of(problem, "raw", "grid", 4)
    which, masks = coalitions(game)
    with placed(problem):
        assert not module.training
        found = game.values(which, masks)
    assert module.training
    fill = segment_means(data.X, game.segments)
    twin = np.stack(
        [painted(data.X[i], game.segments[i], fill[i], mask) for i, mask in zip(which, masks, strict=True)]
    )
    module.eval()
    with torch.inference_mode():
        np.testing.assert_allclose(found[:, 0], module(torch.from_numpy(twin)).numpy(), atol=1e-5)


def lime_text(text, mask, words):
    """What lime makes of the text where these players are absent."""
    from lime.lime_text import IndexedString

    indexed = IndexedString(text, bow=words == "distinct")
    gone = np.flatnonzero(~np.asarray(mask[: indexed.num_words()]))
    return indexed.inverse_removing(gone) if len(gone) else text


@pytest.mark.parametrize("words", ["distinct", "each"])
def test_texts_rewritten_by_lime_have_the_same_values(words):
    problem = problem_of(of_words, ex.Dataset.from_texts(TEXTS))
    game = TokenGame.of(problem, "target", words)
    which, masks = coalitions(game, each=6)
    twin = of_words([lime_text(TEXTS[i], mask, words) for i, mask in zip(which, masks, strict=True)])
    np.testing.assert_array_equal(game.values(which, masks)[:, 0], twin)
    full, empty = game.alone()
    np.testing.assert_array_equal(full, of_words(TEXTS))
    none = np.zeros(game.players.shape[1], dtype=bool)
    np.testing.assert_array_equal(empty[:, 0], of_words([lime_text(text, none, words) for text in TEXTS]))


@pytest.mark.parametrize("words", ["distinct", "each"])
def test_words_are_lime_s_and_stand_where_their_spans_say(words):
    from lime.lime_text import IndexedString

    game = TokenGame.of(problem_of(of_words, ex.Dataset.from_texts(TEXTS)), "target", words)
    facts = game.facts(np.zeros((*game.players.shape, 1)))
    for text, tokens, spans, plays in zip(TEXTS, facts["tokens"], facts["spans"], game.players, strict=True):
        if text:
            indexed = IndexedString(text, bow=words == "distinct")
            assert tokens == tuple(indexed.inverse_vocab)
            for player, places in enumerate(spans):
                starts = [start for start, _ in places]
                assert starts == np.ravel(indexed.string_position(player)).tolist()
        assert [{text[start:stop] for start, stop in places} for places in spans] == [
            {word} for word in tokens
        ]
        np.testing.assert_array_equal(plays, np.arange(len(plays)) < len(tokens))
    assert facts["tokens"][3] == facts["tokens"][4] == ()


@pytest.mark.parametrize(
    ("words", "mask", "expected"),
    [
        ("distinct", None, "  b, b!"),
        ("distinct", "[MASK]", "[MASK] [MASK] b, b!"),
        ("each", None, "a UNKWORDZ UNKWORDZ, b!"),
        ("each", "", "a  , b!"),
    ],
)
def test_absent_words_are_removed_or_masked(words, mask, expected):
    game = TokenGame.of(problem_of(of_words, ex.Dataset.from_texts(["a a b, b!"])), "target", words, mask)
    present = np.array([[False, True]] if words == "distinct" else [[True, False, False, True]])
    assert game.written(np.array([0]), present) == [expected]
    assert (
        mask or "removed" if words == "distinct" else mask or "UNKWORDZ" if mask is None else "removed"
    ) in game.reference.note


def test_equal_strings_are_asked_once_and_shared():
    counting = Counting(of_words)
    game = TokenGame.of(problem_of(counting, ex.Dataset.from_texts(TEXTS)), "target")
    which, masks = coalitions(game, each=60)
    found = game.values(which, masks)
    written = [lime_text(TEXTS[i], mask, "distinct") for i, mask in zip(which, masks, strict=True)]
    assert len(counting.asked) == 1
    assert sorted(counting.asked[0]) == sorted(set(written))
    assert counting.rows < len(which) / 2
    np.testing.assert_array_equal(found[:, 0], of_words(written))


def test_distinct_coalitions_against_a_dictionary():
    rng = np.random.default_rng(0)
    for u in (0, 1, 8, 70):
        which, masks = rng.integers(0, 3, 300), rng.random((300, u)) < 0.2 / max(u, 1) * 8
        first, shared = distinct(which, masks)
        seen = {}
        for row in range(300):
            seen.setdefault((which[row], masks[row].tobytes()), row)
        assert sorted(first) == sorted(seen.values())
        np.testing.assert_array_equal(first[shared], [seen[which[i], masks[i].tobytes()] for i in range(300)])


def test_texts_without_words_have_no_players():
    game = TokenGame.of(problem_of(of_words, ex.Dataset.from_texts(["", "?!"])), "target")
    assert game.players.shape == (2, 0)
    full, empty = game.alone()
    np.testing.assert_array_equal(full, of_words(["", "?!"]))
    np.testing.assert_array_equal(empty[:, 0], full)
    assert [row.shape for row in game.shaped(np.zeros((2, 0, 2)))] == [(0, 2), (0, 2)]


def test_a_long_text_is_taken_apart_and_put_together_again():
    text = " ".join(f"w{i}" for i in range(5000))
    game = TokenGame.of(problem_of(of_words, ex.Dataset.from_texts([text, "short"])), "target")
    assert game.players.sum(axis=1).tolist() == [5000, 1]
    masks = np.random.default_rng(0).random((2, 5000)) < 0.5
    kept = [w for w, there in zip(text.split(), masks[0], strict=True) if there]
    assert game.written(np.array([0, 1]), masks)[0].split() == kept
    assert game.row_bytes > 9_999 * 16


def test_values_of_words_come_text_by_text():
    game = TokenGame.of(problem_of(of_words, ex.Dataset.from_texts(TEXTS)), "target")
    values = np.random.default_rng(0).normal(size=(*game.players.shape, 2))
    for found, expected, count in zip(game.shaped(values), values, game.players.sum(axis=1), strict=True):
        np.testing.assert_array_equal(found, expected[:count])
    assert [row.ndim for row in game.shaped(values[..., 0])] == [1] * len(TEXTS)


def exact(game):
    """Shapley values of the players of each case by all orders, padded with 0."""
    full, _ = game.alone()
    out = np.zeros((*game.players.shape, full.shape[1]))
    for i, plays in enumerate(game.players):
        members = np.flatnonzero(plays)

        @functools.cache
        def value(inside, i=i, members=members):
            mask = np.zeros((1, len(game.players[i])), dtype=bool)
            mask[0, members[list(inside)]] = True
            return game.values(np.array([i]), mask)[0].mean(axis=0)

        if len(members):
            out[i, members] = shapley_values(value, len(members))
    return out


def table_game():
    """Three cases against three reference cases."""
    case = mixed_table_classifier()
    background = case.data.take([0, 1, 2])
    return game_of(problem_of(case.model, case.data, "ill", [3, 4, 5]), "raw", background=background)


def picture_game():
    """A picture of which half looks like its fill, and one that has but one colour."""
    X = half_dark(2)
    X[1] = 0.5
    return game_of(problem_of(curved, ex.Dataset.from_images(X)), "target", segments="grid", about=4)


def text_game():
    """Three words, none, two that occur twice, one."""
    return game_of(problem_of(of_words, ex.Dataset.from_texts(["a b c", "", "d e d e", "f"])), "target")


@pytest.mark.parametrize("build", [table_game, picture_game, text_game])
def test_every_game_adds_up_and_does_not_depend_on_portions(build):
    game = build()
    full, empty = game.alone()
    m, u = game.players.shape
    assert full.shape == (m, empty.shape[2])
    assert empty.shape[:2] == (m, game.references)
    assert game.players.dtype == bool
    assert game.row_bytes > 0
    assert game.reference.cases == game.references
    np.testing.assert_allclose(exact(game).sum(axis=1), full - empty.mean(axis=1), atol=1e-9)
    which, masks = coalitions(game)
    whole = game.values(which, masks)
    assert whole.shape == (len(which), game.references, full.shape[1])
    parts = [game.values(which[i : i + 1], masks[i : i + 1]) for i in range(len(which))]
    np.testing.assert_allclose(whole, np.concatenate(parts), atol=1e-12)
    everyone = game.values(np.arange(m), np.ones((m, u), dtype=bool))
    np.testing.assert_allclose(everyone, np.broadcast_to(full[:, None], everyone.shape), atol=1e-12)
    np.testing.assert_allclose(game.values(np.arange(m), np.zeros((m, u), dtype=bool)), empty, atol=1e-12)
    whoever = np.random.default_rng(1).random((m, u)) < 0.5
    np.testing.assert_allclose(
        game.values(np.arange(m), whoever), game.values(np.arange(m), whoever | ~game.players), atol=1e-12
    )


def test_players_differ_from_case_to_case():
    table = table_game()
    assert isinstance(table, FeatureGame)
    assert (
        table.players.tolist() == [[True, True, True, False]] * 3
    )  # the reference cases all smoke, or none does
    assert picture_game().players.sum(axis=1).tolist() == [2, 0]
    assert text_game().players.sum(axis=1).tolist() == [3, 0, 2, 1]


def test_a_table_s_game_is_the_background_game():
    table = table_game()
    case = mixed_table_classifier()
    value = background_game(
        lambda X: case.model.raw(X)[:, [0]], case.data, case.data.matrix[3], case.data.matrix[:3]
    )
    np.testing.assert_allclose(exact(table)[0], shapley_values(value, 4), atol=1e-9)


def test_what_fits_no_game_is_refused():
    images = problem_of(curved, ex.Dataset.from_images(pictures(1)))
    texts = problem_of(of_words, ex.Dataset.from_texts(["a"]))
    sequences = problem_of(lambda X: X[:, 0, 0], ex.Dataset.from_sequences(np.zeros((2, 3))))
    case = mixed_table_classifier()
    refusals = [
        (lambda: game_of(sequences, "target"), "sequences"),
        (lambda: game_of(problem_of(case.model, case.data), "raw"), "background"),
        (lambda: SegmentGame.of(texts, "target"), "modality 'text'"),
        (lambda: TokenGame.of(images, "target"), "modality 'image'"),
        (lambda: SegmentGame.of(images, "target", "hexagons"), "'hexagons'"),
        (lambda: SegmentGame.of(images, "target", about=0), "at least one segment"),
        (lambda: SegmentGame.of(images, "target", baseline="black"), "'black'"),
        (lambda: TokenGame.of(texts, "target", "letters"), "'letters'"),
    ]
    for ask, words in refusals:
        with annotations_not_executed(), pytest.raises(ex.InvalidSetting, match=words):
            ask()


def test_a_pipeline_of_texts_is_a_model():
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline

    texts = ["good film", "bad film", "good plot", "bad, bad plot", "a film", "bad good"]
    labels = ["up", "down", "up", "down", "up", "down"]
    data = ex.Dataset.from_texts(texts, labels)
    pipeline = make_pipeline(TfidfVectorizer(lowercase=False), LogisticRegression()).fit(texts, labels)
    model = ex.Model.wrap(pipeline)
    model.check(data)
    np.testing.assert_array_equal(model.predict(data.X), pipeline.predict_proba(texts))
    np.testing.assert_array_equal(model.raw(data.X)[:, 1], pipeline.decision_function(texts))
    game = game_of(problem_of(model, data, target="up", rows=[3, 0]), "raw")
    found = game.values(np.array([0, 0, 1]), np.array([[False, True], [True, True], [False, False]]))
    np.testing.assert_allclose(
        found[:, 0, 0], pipeline.decision_function([",  plot", "bad, bad plot", " "]), atol=1e-12
    )
    slope = make_pipeline(TfidfVectorizer(), Ridge()).fit(texts, np.arange(6.0))
    np.testing.assert_array_equal(ex.Model.wrap(slope).predict(data.X)[:, 0], slope.predict(texts))


def test_a_function_of_texts_is_a_model():
    seen = Counting(lambda texts: np.array([t.count("good") / 10 for t in texts]))
    model = ex.Model.wrap(seen, classes=["bad", "good"])
    data = ex.Dataset.from_texts(np.array(["good good", "so so"]), np.array(["good", "bad"]))
    np.testing.assert_allclose(model.predict(data.X), [[0.8, 0.2], [1.0, 0.0]])
    assert seen.asked == [["good good", "so so"]]


def test_data_of_texts_are_taken_drawn_and_told_apart():
    data = ex.Dataset.from_texts(TEXTS, range(7))
    part = data.take([6, 3])
    assert [TEXTS[6], ""] == part.X
    assert part.y.tolist() == [6, 3]
    assert data.sample(3, seed=1).tolist() == data.sample(3, seed=1).tolist()
    assert [TEXTS[i] for i in data.sample(3, 1)] == data.reference(3, 1).X
    assert data.digest == ex.Dataset.from_texts(list(TEXTS), range(7)).digest
    assert data.digest != ex.Dataset.from_texts([*TEXTS[:6], "other"], range(7)).digest
    assert ex.Dataset.from_texts(pd.Series(["a", None, np.nan, "b"], index=[3, 1, 1, 0])).X == [
        "a",
        "",
        "",
        "b",
    ]
    with pytest.raises(ex.SchemaMismatch, match="one string"):
        ex.Dataset.from_texts("not a list")


def worded(outputs=None, error=True):
    """A result of texts as a method would give it."""
    game = TokenGame.of(problem_of(of_words, ex.Dataset.from_texts(["a b a", "", "ß"])), "target")
    k = 2 if outputs else 1
    values = np.arange(1.0, 1 + 3 * 2 * k).reshape(3, 2, k)
    values = values if outputs else values[..., 0]
    shape = (3, k) if outputs else (3,)
    return ex.Attribution(
        names=game.names, values=game.shaped(values), base_value=np.zeros(shape), output=np.ones(shape), space="target",
        targets=outputs or (0, 0, 0), standard_error=game.shaped(values / 10) if error else None,
        reference=game.reference, diagnostics=dict(game.facts(values)),
    )  # fmt: skip


def test_a_result_of_texts_has_a_row_for_each_word():
    frame = worded().to_frame()
    assert frame.columns.tolist() == ["case", "place", "word", "value", "standard_error", "background_error"]
    assert frame[["case", "place", "word", "value"]].to_numpy().tolist() == [
        [0, 0, "a", 1.0],
        [0, 1, "b", 2.0],
        [2, 0, "ß", 5.0],
    ]
    np.testing.assert_allclose(frame["standard_error"], frame["value"] / 10)
    assert frame["background_error"].isna().all()
    both = worded(outputs=("x", "y"), error=False).to_frame()
    assert both[["case", "word", "output", "value"]].to_numpy().tolist() == [
        [0, "a", "x", 1.0], [0, "a", "y", 2.0], [0, "b", "x", 3.0], [0, "b", "y", 4.0], [2, "ß", "x", 9.0], [2, "ß", "y", 10.0],
    ]  # fmt: skip
    assert both["standard_error"].isna().all()


@pytest.mark.parametrize("outputs", [None, ("x", "y")])
def test_a_result_of_texts_comes_back_from_json_and_from_a_worker(outputs):
    import json

    result = worded(outputs)
    written = ex.Explanation.from_dict(json.loads(json.dumps(result.to_dict())))
    sent = codec.unpack(*codec.pack(result))
    for back in (written, sent):
        assert isinstance(back.values, tuple)
        for found, expected in zip(back.values, result.values, strict=True):
            np.testing.assert_array_equal(found, expected)
        assert back.diagnostics["tokens"] == result.diagnostics["tokens"]
        assert back.diagnostics["spans"] == result.diagnostics["spans"]
        assert back.to_frame().equals(result.to_frame())
        assert answers.explained(back, ex.Attribution)


def test_a_worker_s_result_of_texts_must_fit_its_words():
    import dataclasses

    good = worded()
    assert answers.explained(good, ex.Attribution)
    wrong = [
        {"values": good.values[:2]},
        {"values": (*good.values[:2], np.zeros(2))},
        {"values": (*good.values[:2], np.array([np.nan]))},
        {"values": (*good.values[:2], np.zeros((1, 2)))},
        {"values": (*good.values[:2], "ß")},
        {"values": (*good.values[:2], np.array(["ß"]))},
        {"standard_error": np.zeros((3, 2))},
        {"standard_error": good.standard_error[:1]},
        {"output": np.zeros(2)},
        {"diagnostics": {}},
        {"diagnostics": {"tokens": (("a", "b"), (), (1,))}},
        {"diagnostics": {"tokens": "abc"}},
    ]
    for change in wrong:
        with annotations_not_executed():
            assert not answers.explained(dataclasses.replace(good, **change), ex.Attribution), change
    table = ex.Attribution(
        names=("a",),
        values=np.ones((1, 1)),
        base_value=np.ones(1),
        output=np.ones(1),
        space="raw",
        targets=(0,),
    )
    assert answers.explained(table, ex.Attribution)
    assert not answers.explained(dataclasses.replace(table, standard_error=(np.ones(1),)), ex.Attribution)


class Wrapped(torch.nn.Module):
    """No plain sequence, so that its first layer is not looked at."""

    def __init__(self, inside):
        super().__init__()
        self.inside = inside

    def forward(self, x):
        return self.inside(x)


@pytest.mark.parametrize("space", ["probability", "raw"])
@pytest.mark.parametrize("plain", [True, False], ids=["first layer apart", "row by row"])
@pytest.mark.parametrize("classes", [2, 3])
def test_mixtures_through_a_torch_module_are_what_it_says_of_the_rows(space, plain, classes):
    module = network(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 1 if classes == 2 else 3))
    model = ex.Model.wrap(module if plain else Wrapped(module), classes=list("abc")[:classes])
    data = ex.Dataset.from_frame(numbers(9, 4).drop(columns="y"))
    problem = ex.Problem(model, data, data.take([0, 1, 2]), "all", None, torch.device("cpu"))
    game = FeatureGame.of(problem, space, data.take([4, 5, 6, 7, 8]))
    rng = np.random.default_rng(0)
    masks = np.repeat(rng.random((7, 4)) < 0.5, 3, axis=0)
    which = np.tile([0, 1, 2], 7)
    found = game.values(which, masks)
    for t, (row, mask) in enumerate(zip(which, masks, strict=True)):
        rows = np.where(mask, data.matrix[row], data.matrix[4:])
        expected = model.scores(pd.DataFrame(rows, columns=data.schema.names), space)
        np.testing.assert_allclose(found[t], expected, atol=2e-6)


class Remembers(torch.nn.Module):
    """Gives out a tensor of its own, which nobody may write on."""

    def __init__(self):
        super().__init__()
        self.register_buffer("kept", torch.tensor([-1.0, 2.0, -3.0]))

    def forward(self, x):
        return self.kept.expand(len(x), 3) if x.shape[1] == 1 else x + self.kept


def test_rectifiers_write_on_nothing_but_their_own():
    layers = [torch.nn.Linear(3, 3), torch.nn.ReLU(), Remembers(), torch.nn.ReLU(), torch.nn.Linear(3, 3)]
    module = network(*layers, torch.nn.ReLU(), torch.nn.Linear(3, 1), Remembers(), torch.nn.ReLU())
    before = {name: value.clone() for name, value in module.state_dict().items()}
    x = torch.from_numpy(numbers(40, 3).drop(columns="y").to_numpy(np.float32, copy=True))
    present = np.random.default_rng(0).random((5, 3)) < 0.5
    mixture = Mixture(x[:2].numpy(), x[2:6].numpy(), np.array([0, 1, 0, 1, 1]), present)
    found = torch_mixtures.answers(module, mixture).reshape(5, 4, 3)
    for t in range(5):
        rows = torch.where(torch.from_numpy(present[t]), x[mixture.which[t]], x[2:6])
        np.testing.assert_allclose(found[t], module(rows).detach().numpy(), atol=2e-6)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_a_module_that_is_listened_to_is_asked_row_by_row():
    module = network(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 1))
    data = ex.Dataset.from_frame(numbers(9, 3).drop(columns="y"))
    heard = []
    handle = module[0].register_forward_hook(lambda *_: heard.append(1))
    try:
        listened = ex.explain(ex.Model.wrap(module), data, ex.KernelShap(background=4), rows=[0])
    finally:
        handle.remove()
    assert heard
    alone = ex.explain(ex.Model.wrap(module), data, ex.KernelShap(background=4), rows=[0])
    np.testing.assert_allclose(alone.values, listened.values, atol=1e-6)
