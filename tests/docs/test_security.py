"""docs/security.md: attacks that once got through, what holds them now, and the test that shows it.

`TUBEFLOW_WRITE_DOCS=1 python -m pytest tests/docs/test_security.py` writes the page anew. The slow form runs every test
that the page names, so that the column "now" is what they say.
"""

import os
import re
import subprocess
import sys
from dataclasses import dataclass

import pytest

from tests.support import REPO

PAGE = REPO / "docs" / "security.md"
INTRODUCTION = """# Attacks, and what holds them

Made by `tests/docs/test_security.py`. Each attack of this page got through an earlier version.
[SECURITY.md](../SECURITY.md) has what is promised, what isn't, and how to report a hole. Random variants are tried by
tests as well: mutated pickles and sealed HDF5 files are read in a child process whose memory, time and opened files are
measured (`tests/support/limited_process.py`; the long forms are `slow`).

| attack | right | what holds it | shown by | now |
|---|---|---|---|---|
"""


@dataclass(frozen=True)
class Attack:
    """One row. `shown_by`: tests as `file::name` below `tests/`; none where the attack is still open."""

    what: str
    right: str
    held_by: str
    shown_by: tuple[str, ...]

    @property
    def now(self) -> str:
        return "held" if self.shown_by else "open"


ATTACKS = (
    Attack(
        "one bit of a run's record, metrics or predictions flips",
        "named; `gc` refuses while a record can't be read",
        "records are sealed (`flows/runs/record.py`)",
        ("flows/runs/test_record.py::test_a_damaged_record_is_named_by_every_reader_and_gc_refuses",),
    ),
    Attack(
        "a pickle forges NumPy dtypes, or asks for gigabytes in seven bytes",
        "refused before anything is built; memory, depth and size bounded",
        "allowed opcodes, our own array parts, a measured result (`data_catalog/safe_pickle.py`)",
        (
            "data_catalog/test_hostile_pickles.py::test_forged_arrays_and_bombs_are_refused",
            "data_catalog/test_hostile_pickles.py::test_mutants_are_read_or_refused",
        ),
    ),
    Attack(
        "corrections are emptied, deleted or cut at a line's end",
        "an error with the remedy",
        "lines are chained, their count is kept elsewhere (`data_catalog/tables/edits.py`)",
        ("data_catalog/tables/test_edits.py::test_corrections_that_are_lost_are_an_error_with_the_remedy",),
    ),
    Attack(
        "SIGKILL in the first seconds leaves a listening Prefect server",
        "nobody is left",
        "the server's life is tied to ours before it listens (`flows/execution/server/server_process.py`)",
        ("e2e/test_stopping.py::test_killed_while_the_server_starts_nobody_is_left",),
    ),
    Attack(
        "a video's name is a pattern, a playlist or a protocol",
        "only the named file is opened",
        "an allow-list of containers, opened by handle (`data_catalog/media/container.py`)",
        (
            "data_catalog/media/test_frame_folder.py::test_a_name_that_is_a_pattern_opens_nothing_else",
            "data_catalog/media/test_video.py::test_playlist_is_not_followed",
        ),
    ),
    Attack(
        "an artifact rots that only the report reads",
        "removed and made again within the run, and said",
        "one handling of damage for stages, plan and report (`flows/execution/execute.py`)",
        ("e2e/test_damage.py::test_what_the_report_finds_rotten_is_made_again_within_the_run",),
    ),
    Attack(
        "the clock is set back between two runs",
        "runs are in the order in which they ended",
        "a counter (`flows/runs/record.py`)",
        ("flows/runs/test_record.py::test_runs_are_in_the_order_in_which_they_ended_whatever_the_clock_says",),
    ),
    Attack(
        "a YOLO file has a layer constructed that downloads or reads files",
        "refused before it is opened",
        "its calls are read first; no layer's constructor is one (`models/detectors/pickled_calls.py`)",
        (
            "models/detectors/test_detectors.py::"
            "test_a_weight_file_that_constructs_a_layer_is_refused_before_it_does",
        ),
    ),
    Attack(
        "a FIFO, device or folder in a frame's place",
        "regular files only",
        "checked on the opened file (`data_catalog/media/regular_file.py`)",
        ("data_catalog/media/test_frame_folder.py::test_no_pipe_no_device_no_folder",),
    ),
    Attack(
        "a clip_id of 250 characters, labels of 20 digits",
        "that row alone is refused at ingest",
        "limits where rows are read (`data_catalog/datasets/label_rows.py`)",
        ("docs/test_cases.py::test_the_page_says_what_is_read",),
    ),
    Attack(
        "a folder, link or pipe in the place of a file of the workspace",
        "damage like any other",
        "plain files only (`data_catalog/plain_file.py`)",
        ("data_catalog/test_plain_file.py::test_what_is_no_plain_file_is_damage_and_can_be_cleared",),
    ),
    Attack(
        "an artifact or pack with a right seal lies in other files: external storage, virtual dataset, link",
        "damage, and the other file is never opened",
        "one way to open HDF5 (`data_catalog/self_contained.py`)",
        (
            "data_catalog/test_hostile_hdf5.py::"
            "test_a_sealed_artifact_that_refers_elsewhere_is_damaged_for_every_reader",
            "data_catalog/test_hostile_hdf5.py::test_sealed_mutants_are_read_or_damaged",
        ),
    ),
    Attack(
        "frame folders and videos of links that lead outside",
        "refused",
        "what was opened has to lie in the root (`data_catalog/media/regular_file.py`)",
        (
            "data_catalog/media/test_frame_folder.py::test_links_stay_inside",
            "data_catalog/media/test_frame_folder.py::test_what_was_opened_is_checked_not_only_its_name",
        ),
    ),
    Attack(
        "an ONNX file keeps tensors in other files",
        "refused; the digest covers all that is read",
        "the file is looked through before OpenCV has it (`models/onnx_file.py`)",
        ("models/test_onnx_file.py::test_external_data_are_refused",),
    ),
    Attack(
        "a hundred half-open sockets at a viewer with 64 file handles",
        "it goes on answering, and says so in one line",
        "10 seconds for a request, a bound on connections (`flows/view/connections.py`)",
        (
            "flows/view/test_hostile_sockets.py::test_half_open_sockets_leave_the_server_alive_and_quiet",
            "flows/view/test_hostile_sockets.py::test_a_request_that_never_ends_is_closed_in_time",
        ),
    ),
    Attack(
        "`tubeflow status` mends a damaged table in silence",
        "every command says what it mended",
        "notices go to whoever opened the workspace (`data_catalog/catalog.py`)",
        ("flows/cli/test_mended.py::test_what_a_command_mends_it_says_once",),
    ),
    Attack(
        "terminal escapes, marks of writing direction, markup and formulas in ids, actions and reasons",
        "shown, never obeyed: on terminal, pages, reports, in CSV files",
        "one function for foreign text (`data_catalog/foreign_text.py`), in the console and the templates",
        (
            "flows/test_hostile_names.py::test_whatever_is_printed_obeys_nobody",
            "flows/test_hostile_names.py::test_formulas_are_quoted",
            "browser/test_hostile_dataset.py::test_the_page_of_a_clip",
            "browser/test_hostile_dataset.py::test_a_clip_as_one_file",
        ),
    ),
    Attack(
        "a Range of 5,000 digits; a WebSocket upgrade",
        "416; 400; no traceback",
        "the guard before every route (`flows/view/access.py`)",
        (
            "flows/view/test_hostile_sockets.py::test_a_range_of_thousands_of_digits_is_416",
            "flows/view/test_hostile_sockets.py::test_a_web_socket_is_400_without_a_traceback",
        ),
    ),
    Attack(
        "YAML with bad dates, 20,000 digits, infinite numbers, endless depth, merges that multiply",
        "one sentence, quickly",
        "plain YAML, counted before it is built (`flows/plain_yaml.py`); finite numbers (`tasks/engine/config.py`)",
        (
            "flows/test_hostile_yaml.py::test_a_config_file_is_refused_in_a_sentence",
            "flows/test_hostile_yaml.py::test_an_override_is_refused_in_a_sentence",
        ),
    ),
    Attack(
        "several runs at once",
        "a key is computed by one of them",
        "a claim that dies with its owner (`data_catalog/claims.py`)",
        ("e2e/test_two_at_once.py::test_four_runs_at_once_compute_every_artifact_once",),
    ),
    Attack(
        "SIGINT or SIGTERM at any moment",
        "one sentence within 5 seconds, status 130 or 143, no child left",
        "`flows/execution/stopping.py`",
        ("e2e/test_stopping.py::test_in_a_stage",),
    ),
    Attack(
        "a package or an image is swapped on its way",
        "hashes, digests, confined services with passwords",
        "the locks and docker-compose.yml",
        (
            "test_supply.py::test_make_setup_installs_locked_bytes_only",
            "e2e/test_compose.py::test_services_are_confined",
            "e2e/test_compose.py::test_images_are_pinned_by_digest",
        ),
    ),
    Attack(
        "the viewer is given a box outside the frame, text for numbers, a cut beyond the video, codes in a reason",
        "refused with a sentence",
        "strict bodies and the clip's own measures (`flows/view/api/writes.py`)",
        ("flows/view/test_writes.py::test_what_does_not_fit_is_refused_and_changes_nothing",),
    ),
)
TESTS = [test for attack in ATTACKS for test in attack.shown_by]


def page() -> str:
    rows = []
    for attack in ATTACKS:
        tests = "<br>".join(map(link, attack.shown_by))
        rows.append(f"| {attack.what} | {attack.right} | {attack.held_by} | {tests} | {attack.now} |\n")
    return INTRODUCTION + "".join(rows)


def link(test: str) -> str:
    file, _, name = test.partition("::")
    return f"[{name}](../tests/{file})"


def test_the_page_says_what_the_tests_show() -> None:
    if os.environ.get("TUBEFLOW_WRITE_DOCS"):
        PAGE.write_text(page(), encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == page()


@pytest.mark.parametrize("test", TESTS)
def test_every_test_that_is_named_is_there(test: str) -> None:
    file, _, name = test.partition("::")
    assert f"def {name}(" in (REPO / "tests" / file).read_text()


def test_everything_that_holds_is_there() -> None:
    named = [name for attack in ATTACKS for name in re.findall(r"`([\w/.-]+\.py)`", attack.held_by)]
    assert named
    assert [name for name in named if not (REPO / name).is_file()] == []


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_test_that_is_named_passes() -> None:
    """In one process of its own; those that need a browser or a container service are skipped where there is none."""
    words = [sys.executable, "-m", "pytest", "-q", "-m", "not slow", *(f"tests/{test}" for test in TESTS)]
    ended = subprocess.run(words, cwd=REPO, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout[-4000:]
