import subprocess
import sys

import pytest

from vloc_models.commands.main import COMMANDS, main

LOOK = (
    'import sys; from vloc_models.commands.main import main\n'
    'try: main(sys.argv[1:])\n'
    'except SystemExit: pass\n'
    'print("torch" in sys.modules, "onnxruntime" in sys.modules, "matplotlib" in sys.modules)'
)


def test_the_overview_names_every_command_and_imports_none() -> None:
    run = subprocess.run([sys.executable, '-c', LOOK, '--help'], capture_output=True, text=True)
    for name, (_, summary) in COMMANDS.items():
        assert name in run.stdout
        assert summary.split()[-1] in run.stdout
    assert run.stdout.splitlines()[-1] == 'False False False'


def test_no_command_waits_for_torch_that_needs_none() -> None:
    for command in ('info', 'locate', 'evaluate', 'check'):
        words = [sys.executable, '-c', LOOK, command, '--help']
        run = subprocess.run(words, capture_output=True, text=True)
        assert 'usage: vloc' in run.stdout
        assert run.stdout.splitlines()[-1].startswith('False')


@pytest.mark.parametrize(
    ('words', 'complaint'),
    [([], 'info'), (['fly'], 'info'), (['--poses', 'none', 'info'], '--poses')],
)
def test_no_such_command_is_exit_code_2(
    words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize('command', COMMANDS)
def test_every_command_tells_its_options(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([command, '--help'])
    assert stop.value.code == 0
    assert f'usage: vloc {command}' in capsys.readouterr().out
