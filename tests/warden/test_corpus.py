"""The public corpus of the Cedar project: that our way of reading and asking policies gives the decisions that their authors expect.

What is held to it: the scanner that finds where policies begin (comments, texts and escapes of every kind), asking through Cedar's
JSON form instead of the text, ids as (type, id) pairs, and that the errors which our rule denies on are those that Cedar means.
"""

from __future__ import annotations

import json
import os
import tarfile
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import cedarpy
import pytest

from omega.warden.source import statements

CORPUS = Path(__file__).parents[3] / "shared" / "data" / "cedar-corpus-tests.tar.gz"
SHARE = 40
"""Every how-manieth case runs by default; all of them with the marker `slow`."""


@cache
def corpus() -> dict[str, str]:
    if not CORPUS.exists():
        if os.environ.get("CI"):
            pytest.fail(f"{CORPUS.name} is missing, and in CI it must not be")
        pytest.skip(f"SKIPPED LOUDLY: {CORPUS.name} is not beside this checkout, the Cedar corpus was not run")
    with tarfile.open(CORPUS) as archive:
        return {
            Path(member.name).name: archive.extractfile(member).read().decode()
            for member in archive
            if member.isfile() and not Path(member.name).name.startswith(".")
        }


def cases(share: int) -> Iterator[tuple[str, dict, dict[str, str]]]:
    files = corpus()
    names = sorted(name for name in files if name.endswith(".json") and not name.endswith(".entities.json"))
    assert len(names) > 7_000
    for name in names[::share]:
        case = json.loads(files[name])
        yield name, case, {part: files[Path(case[part]).name] for part in ("policies", "entities", "schema")}


def run(share: int) -> Counter:
    tally = Counter()
    for name, case, texts in cases(share):
        try:
            handle = cedarpy.PolicySet.from_json_str(cedarpy.policies_to_json_str(texts["policies"]))
            entities = cedarpy.Entities.from_json_str(texts["entities"])
        except ValueError:
            tally["unreadable by this engine"] += 1
            continue
        pieces = [text for _, text in statements(texts["policies"])]
        assert len(pieces) == len(handle) + len(handle.templates()), name
        for request in case["requests"]:
            asked = {key: request[key] for key in ("principal", "action", "resource", "context")}
            result = cedarpy.is_authorized(asked, handle, entities)
            if result.decision is cedarpy.Decision.NoDecision:
                tally["no decision"] += 1
                continue
            assert result.decision.value.lower() == request["decision"], name
            assert sorted(result.diagnostics.reasons) == sorted(request["reason"]), name
            assert bool(result.diagnostics.errors) == bool(request["errors"]), name
            tally["agreed"] += 1
            tally["with an error"] += bool(request["errors"])
    return tally


def test_a_share_of_the_corpus_agrees() -> None:
    tally = run(SHARE)
    assert tally["agreed"] > 10 * (tally["no decision"] + tally["unreadable by this engine"]), tally


@pytest.mark.slow
def test_the_whole_corpus_agrees() -> None:
    tally = run(1)
    assert tally["agreed"] > 10 * (tally["no decision"] + tally["unreadable by this engine"]), tally
    assert tally["with an error"] > 1_000, tally
