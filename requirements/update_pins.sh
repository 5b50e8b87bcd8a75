#!/usr/bin/env bash
# Write pins.txt anew: the newest versions that setup.py and ros.txt allow, for each Python from 3.10 on.
# Needs uv (`pip install uv`). Run `make clean-env test` afterwards.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

resolved=$(mktemp)
trap 'rm -f "$resolved"' EXIT
uv pip compile --quiet --universal --python-version 3.10 --no-header --no-annotate \
  --constraint <(echo torch==2.13.0) --output-file "$resolved" \
  setup.py --extra dev requirements/ros.txt >/dev/null

{
  cat <<'HEADER'
# Exact versions of everything in .venv: a pip constraints file, written by requirements/update_pins.sh.
# torch stands by itself: its CUDA packages are no business of ours, and any other version of torch
# pulls gigabytes of them.
torch==2.13.0
HEADER
  sed -E "s/ ; sys_platform (!= 'win32'|== 'linux')$//; s/ or sys_platform == 'win32'//; s/ or sys_platform == 'darwin'//" \
    "$resolved" | grep -vE "^(torch|triton|nvidia-|cuda-)|sys_platform"
} >requirements/pins.txt
