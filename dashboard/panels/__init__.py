"""The pages and their panels, in reading order. To add a panel: its file, and one line here."""

from __future__ import annotations

from dashboard.panels.beeswarm import Beeswarm
from dashboard.panels.case_list import CaseList
from dashboard.panels.classes import Classes
from dashboard.panels.effect import FeatureEffect
from dashboard.panels.facts import Facts
from dashboard.panels.importance import GlobalImportance
from dashboard.panels.made_pictures import MadePictures
from dashboard.panels.map_checks import MapChecks
from dashboard.panels.panel import Page
from dashboard.panels.picture import Picture
from dashboard.panels.pictures_together import PicturesTogether
from dashboard.panels.prediction import Prediction
from dashboard.panels.reasons import Reasons
from dashboard.panels.received import Received
from dashboard.panels.region import RegionOfInterest
from dashboard.panels.strip import Strip
from dashboard.panels.suggestions import Suggestions
from dashboard.panels.what_if import WhatIf

CASE_TABLE = Page(
    "case",
    (Strip(), CaseList(), Prediction(), Reasons(), WhatIf(), Suggestions()),
    {
        "wide": {
            "columns": [0.62, 0.9, 0.6, 1.1],
            "areas": [["strip", "strip", "strip", "move"], ["cases", "main", "main", "whatif"]],
        },
        "medium": {
            "columns": [1.25, 1],
            "areas": [["strip", "move"], ["main", "whatif"], ["cases", "cases"]],
        },
        "narrow": {"columns": [1], "areas": [["strip"], ["move"], ["main"], ["whatif"], ["cases"]]},
    },
)

CASE_PICTURE = Page(
    "case",
    (Strip(), CaseList(), Picture(), MapChecks(), Classes(), RegionOfInterest(), Received()),
    {
        "wide": {
            "columns": [0.62, 1.25, 0.55, 0.8],
            "areas": [["strip", "strip", "move", "move"], ["cases", "main", "main", "side"]],
        },
        "medium": {"columns": [1.6, 1], "areas": [["strip", "move"], ["main", "side"], ["cases", "cases"]]},
        "narrow": {"columns": [1], "areas": [["strip"], ["move"], ["main"], ["side"], ["cases"]]},
    },
)

OVERVIEW_TABLE = Page(
    "overview",
    (Strip(), Facts(), GlobalImportance(), FeatureEffect(), Beeswarm()),
    {
        "wide": {
            "columns": [1.1, 0.9, 0.6, 1.1],
            "areas": [["strip", "strip", "strip", "move"], ["facts", "main", "main", "side"]],
        },
        "medium": {"columns": [1.3, 1], "areas": [["strip", "move"], ["main", "side"], ["facts", "facts"]]},
        "narrow": {"columns": [1], "areas": [["strip"], ["move"], ["facts"], ["main"], ["side"]]},
    },
)

OVERVIEW_PICTURE = Page(
    "overview",
    (Strip(), Facts(), PicturesTogether(), MadePictures()),
    {
        "wide": {
            "columns": [1.1, 0.8, 1.2],
            "areas": [["strip", "strip", "move"], ["facts", "main", "main"]],
        },
        "narrow": {"columns": [1], "areas": [["strip"], ["move"], ["facts"], ["main"]]},
    },
)

PAGES = (CASE_TABLE, CASE_PICTURE, OVERVIEW_TABLE, OVERVIEW_PICTURE)
