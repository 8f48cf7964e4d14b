"""The way of another user to files of ours."""

from pathlib import Path

from gateway.embedded.account import open_tree


def test_a_hidden_installation_becomes_readable_and_nothing_more(folder: Path) -> None:
    tree = folder / "tree"
    (tree / "bin").mkdir(parents=True)
    program, text = tree / "bin/program", tree / "text"
    for file, mode in ((program, 0o700), (text, 0o600)):
        file.write_text("")
        file.chmod(mode)
    for place in (tree / "bin", tree, folder):
        place.chmod(0o700)

    open_tree(tree)

    modes = {path: path.stat().st_mode & 0o777 for path in (folder, tree, program, text)}
    assert modes == {folder: 0o701, tree: 0o705, program: 0o705, text: 0o604}


def test_an_open_installation_stays_as_it_is(folder: Path) -> None:
    (folder / "secret").touch(mode=0o600)
    folder.chmod(0o755)

    open_tree(folder)

    assert (folder / "secret").stat().st_mode & 0o777 == 0o600
