"""Every command: help with an example; for what a user got wrong a plain sentence, no traceback, exit status 2."""

import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer
from typer.testing import CliRunner

from flows.cli.main import app

CLIP = "diving_0003"
NOTHING_TO_SAY = {"plugins"}  # takes nothing that could be wrong


def commands() -> list[str]:
    """All commands and those of the groups, as one types them."""

    def below(command: click.Command, words: tuple[str, ...]) -> Iterator[str]:
        inner = getattr(command, "commands", {})
        if not inner:
            yield " ".join(words)
        for name, one in inner.items():
            yield from below(one, (*words, name))

    program = typer.main.get_command(app)
    program.load_all()
    return list(below(program, ()))


@pytest.mark.parametrize("command", commands())
def test_every_command_has_help_with_an_example(command: str) -> None:
    result = CliRunner().invoke(app, [*command.split(), "--help"])
    assert result.exit_code == 0, result.output
    assert f"Example: tubeflow {command}" in " ".join(result.stdout.split())


@pytest.fixture(scope="module")
def litter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with files that are not what they seem."""
    folder = tmp_path_factory.mktemp("litter")
    for name in ("empty", "badlabels", "novideo"):
        (folder / name).mkdir()
    (folder / "badlabels" / "labels.csv").write_text("clip_id,video,split\na,a.mp4,train\n")
    (folder / "novideo" / "labels.csv").write_text("clip_id,video,split,score\na,a.mp4,train,1\n")
    (folder / "letter.txt").write_text("a letter\n")
    (folder / "letter.mp4").write_text("a letter\n")
    (folder / "utf16.csv").write_bytes("clip_id,video,split,score\n".encode("utf-16"))
    (folder / "broken.yaml").write_text("preset: [demo\n")
    return folder


# words of the command (@ is the folder above), part of the sentence
WRONG = [
    ("ingest folder --name x --videos @/nowhere", "There is no folder @/nowhere; give the folder"),
    ("ingest folder --name x --videos @/letter.txt", "There is no folder @/letter.txt; give the folder"),
    ("ingest folder --name x --videos @/empty", "There is no label file @/empty/labels.csv; give"),
    ("ingest folder --name x --videos @/badlabels", "labels.csv has neither a column 'score' nor a column 'label'"),
    ("ingest folder --name x --videos @/novideo", "'a.mp4' does not exist; add the file or remove the row"),
    ("ingest folder --name x --videos @/empty --labels @/utf16.csv", "utf16.csv has a header but no rows; add one row"),
    ("ingest foldr --name x --videos @/empty", "did you mean 'folder'?"),
    ("ingest aqa7 --name x --videos @/empty", "get AQA-7.zip from"),
    ("datasets check nobody", "no dataset 'nobody' (it has: tiny); add it with"),
    ("datasets make procedurl", "There is no generator 'procedurl'; there is: procedural."),
    ("datasets make procedural --kind divin --clips 0", "--kind: Input should be 'diving', 'sync_diving' or 'skating'"),
    ("datasets make procedural --kind skating --distractors 1", "Distractors go with kind diving only"),
    ("run foldr --dataset tiny", "did you mean 'folder'?"),
    ("run @/broken.yaml --dataset tiny", "@/broken.yaml is not YAML in line 2, column 1"),
    ("run @/letter.txt --dataset tiny", "must be a mapping of sections"),
    ("run demo --dataset nobody", "no dataset 'nobody'"),
    ("run demo --dataset tiny --only trac", "There is no stage 'trac'; stages: normalize, "),
    ("run demo --dataset tiny -o model.backbone=i3d_smal", "did you mean 'i3d_small'?"),
    ("run demo --dataset tiny --engine loca", "engine.runner: Input should be 'local', "),
    ("plan demo --dataset tiny -o track", "write section.field=value"),
    ("plan demo --dataset tiny -o track.tracker=nano -o track.weights=nowhere.pth", "called 'nowhere.pth'"),
    ("plan demo --dataset tiny --where 'scor > 3'", "\"scor\" not found"),
    ("plan demo --dataset tiny --clip nobody", "has no clips called nobody"),
    ("status -w @/letter.txt", "The workspace @/letter.txt is a file; choose a folder with --workspace."),
    ("datasets list -w @/letter.txt", "The workspace @/letter.txt is a file"),
    ("catalog -w @/letter.txt", "The workspace @/letter.txt is a file"),
    ("gc -w @/letter.txt", "The workspace @/letter.txt is a file"),
    ("reindex -w @/letter.txt", "The workspace @/letter.txt is a file"),
    ("weights list -w @/letter.txt", "The workspace @/letter.txt is a file"),
    ("weights verify -w @/letter.txt", "The workspace @/letter.txt is a file"),
    ("inspect", "Say which clip to inspect"),
    ("inspect diving_000", "no clip 'diving_000'; did you mean 'diving_0"),
    ("inspect nobody", "no clip 'nobody'; list them with: tubeflow catalog query"),
    (f"inspect {CLIP} --dataset nobody", "no dataset 'nobody'"),
    (f"inspect {CLIP} --out @/letter.txt", "@/letter.txt"),
    ("inspect --dataset tiny --compare mil nano", "No clip of 'tiny' was tracked by 'nano'"),
    ("demo --clips 0", "--clips: Input should be greater than or equal to 1."),
    ("demo -o train.epoch=3", "did you mean 'train.epochs'?"),
    ("explain nobody", "no clip 'nobody'; list them with"),
    ("explain @/letter.txt", "@/letter.txt is damaged or no artifact; give an artifact's path or key"),
    ("flops nobody", "no clip 'nobody'"),
    ("setup", "No Prefect server is named; start one with"),
    ("predict @/none.mp4 --box 1,2,30,40 --difficulty 3", "There is no video @/none.mp4; check the path."),
    ("predict @/letter.mp4 --box 1,2,3", "'1,2,3' is not a box; write x,y,w,h"),
    ("predict @/letter.mp4 --box 1,2,30,40 --run nobody", "no run 'nobody'; list them with: tubeflow status"),
    ("export nobody", "no run 'nobody'"),
    ("export last --format onx", "There is no format 'onx'; formats: onnx, torch-export."),
    ("export last --weights bst", "weights 'last' and 'best', not 'bst'"),
    ("export last --action dancing", "Run '"),
    ("experiment procedura --dataset tiny", "There is no matrix or file 'procedura'; matrices:"),
    ("experiment @/broken.yaml --dataset tiny", "@/broken.yaml is not YAML in line 2, column 1"),
    ("experiment procedural --dataset nobody", "no dataset 'nobody'"),
    ("compare nobody", "no run 'nobody'"),
    ("compare last --split tst", "no predictions of split 'tst'; choose another --split"),
    ("compare last --baseline nobody", "There is no row 'nobody'; rows:"),
    ("view -w @/nowhere", "There is no workspace @/nowhere; name it with"),
    ("view --dataset nobody", "no dataset 'nobody'"),
    ("view --host nowhere.invalid", "'nowhere.invalid' is no address of this machine"),
    ("weights pull nanotrack_v9", "did you mean 'nanotrack_v"),
    ("weights add @/none.pth", "There is no file @/none.pth; give"),
    ("weights add @/letter.txt --as ../x.pth", "is no plain file name"),
    ("tracks evaluate @/nowhere -t mil", "There is no folder @/nowhere"),
    ("tracks evaluate @/empty -t mil", "@/empty holds no clips with ground truth"),
    ("tracks evaluate @/empty -t mill", "trackers are mil, nano"),
    ("tracks evaluate @/empty", "Say what to evaluate: --tracker NAME"),
    ("tracks evaluate @/empty -t mil --size 3", "--size is WIDTHxHEIGHT, such as 455x256"),
    ("tracks import @/nowhere --out @/o.json", "There is no file or folder @/nowhere"),
    ("tracks import @/empty --out @/o.json", "@/empty holds no NAME.txt"),
    ("tracks import @/letter.txt --out @/o.json", "letter.txt line 1 is not made of numbers: 'a letter'"),
    ("tracks import @/letter.txt --format pyso --out @/o.json", "Unknown track format 'pyso'; use pysot"),
    ("tracks truth @/o.json --dataset nobody", "no dataset 'nobody'"),
    ("tracks export @/o --dataset nobody", "no dataset 'nobody'"),
    ("tracks export @/o --dataset tiny --shape star", "--shape is box or polygon, not 'star'."),
    ("tracks export @/o --dataset tiny --athlete 4", "No clip of 'tiny' has an athlete 4; they are counted from 0"),
    ("detect evaluate @/nowhere", "There is no folder @/nowhere"),
    ("detect evaluate @/empty", "@/empty holds no clips with ground truth"),
    ("detect evaluate @/empty -d athlete-m", "There is no detector 'athlete-m' (did you mean 'athlete-n'?)"),
    ("detect evaluate @/empty --box a=1", "--box is CLIP=X,Y,W,H, not 'a=1'."),
    ("catalog query 'selct'", 'yntax error at or near "selct"; tables and columns: tubeflow catalog schema.'),
    ("catalog query 'select scor from clips'", '"scor" not found'),
    ("catalog query 'select 1 from clip'", 'Did you mean "clips"?'),
    ("catalog query 'drop table clips'", "The catalog answers one SELECT at a time"),
    ("catalog schema clip", "did you mean 'clips'?"),
    ("labels set nobody score=3", "no clip 'nobody'"),
    (f"labels set {CLIP} scor=3", "score"),
    (f"labels set {CLIP} score=many", "many"),
    (f"labels set {CLIP} box=1,2,3", "box"),
    (f"labels set {CLIP} split=tst", "tst"),
    (f"labels set {CLIP} score=3 --dataset nobody", "no dataset 'nobody'"),
    ("labels history --dataset nobody", "no dataset 'nobody'; list them with"),
    ("labels history nobody", "no clip 'nobody'"),
    ("labels export @/o.ods --dataset tiny", "Labels are written as .csv, .parquet, .xlsx, not as 'o.ods'."),
    ("labels export @/o.csv --dataset nobody", "no dataset 'nobody'"),
    ("plugin new gadget mine --out @/o", "There is no kind of plug-in 'gadget'; kinds: tracker, "),
    ("plugin new tracker mil --out @/o", "There is a tracker 'mil' already; choose another name."),
    ("plugin new tracker mine --out @/empty/..", "is there already and nothing is overwritten"),
    ("pretrain tracker --material nothing", "No materials are called 'nothing'; there are"),
    ("pretrain tracker --manifest @/none.toml", "@/none.toml: No such file or directory. Check the path."),
    ("pretrain detector --manifest @/letter.txt", "The list of materials @/letter.txt is malformed"),
]


@pytest.mark.parametrize(("words", "told"), WRONG, ids=[words for words, _ in WRONG])
def test_what_is_wrong_is_told_in_a_sentence(
    finished_workspace: Path, litter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, told: str
) -> None:
    makes = words.split()[0] in ("ingest", "demo", "pretrain") or words.startswith("datasets make")
    monkeypatch.setenv("TUBEFLOW_WORKSPACE", str(tmp_path / "w" if makes else finished_workspace))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("COLUMNS", "400")
    result = CliRunner().invoke(app, shlex.split(words.replace("@", str(litter))))
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == 2
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert told.replace("@", str(litter)) in " ".join(lines), lines
    assert lines[-1].endswith((".", "?"))
    assert not lines[-1].endswith((".?", "?."))
    assert not any(noise in result.stderr for noise in ("Traceback", "errors.pydantic.dev", "Value error", "[type="))


def test_every_command_was_tried(litter: Path) -> None:
    tried = {words for words, _ in WRONG} | NOTHING_TO_SAY
    assert [name for name in commands() if not any(words.startswith(name) for words in tried)] == []
