#!/usr/bin/env bash
# Generate tf2_msgs and install it into a virtual environment that holds ROS 2 from PyPI.
#   build_tf2_msgs.sh VENV
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
venv=$(cd "$1" && pwd)

build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT

# The environment's own cmake, ninja and python come first; a sourced ROS must not be found.
export PATH="$venv/bin:$PATH" AMENT_PREFIX_PATH="$venv" CMAKE_PREFIX_PATH="$venv"
{
  cmake -G Ninja -S "$here/tf2_msgs" -B "$build" \
    -DCMAKE_BUILD_TYPE=Release -DBUILD_TESTING=OFF \
    -DCMAKE_INSTALL_PREFIX="$venv" -DPython3_EXECUTABLE="$venv/bin/python"
  cmake --build "$build"
  cmake --install "$build"
} >"$build/log" 2>&1 || {
  tail -n 30 "$build/log" >&2
  echo 'tf2_msgs could not be built; the end of the log stands above' >&2
  exit 1
}
