#!/usr/bin/env bash
# Compares CUDA with the CPU and times searches on it, in at most 8 minutes; a second call replaces the rows.
#
#   bash benchmarks/gpu.sh [--data-root DIR]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=python3
[ -x .venv/bin/python ] && python=$PWD/.venv/bin/python
exec timeout 480 "$python" -m benchmarks.gpu "$@" # gpu.csv
