#!/usr/bin/env bash
# All that waits for a GPU, in order of worth: tests, the tables of docs/performance.md, and CIFAR-10 as far as time goes.
#
#   bash benchmarks/gpu.sh DATA OUT [SECONDS]     DATA holds train/<class>/ and test/<class>/ of CIFAR-10
#
# Runs again where it was left: training resumes in OUT. Needs torch, timm and Lightning; this tree is used as it is.
set -uo pipefail
data=$1 out=$2 seconds=${3:-540}
cd "$(dirname "$0")/.."
export PYTHONPATH=$PWD
mkdir -p "$out"
command="import sys; from spikeformers.cli import main; main(sys.argv[1:])"

timeout 120 python -m pytest -q -m gpu tests > "$out/tests.txt" 2>&1
tail -n 1 "$out/tests.txt"
for sizes in "" --large; do timeout 200 python benchmarks/speed.py $sizes --compiled --batch-size 64; done > "$out/speed.md" 2>&1
tail -n 40 "$out/speed.md"
for model in spikformer_4_384_cifar10 qkformer_4_384_cifar10 sdt_2_512_cifar10; do
    timeout --signal=INT "$seconds" python -c "$command" train spikformer_cifar10 --model "$model" --data "$data" \
        --precision bf16-mixed --data.workers 14 --data.test_each_epoch true --out "$out/runs" --run "$model" --resume
    tail -n 2 "$out/runs/$model/metrics.csv"
done
# Weights in pieces that travel.
find "$out/runs" -name '*.ckpt' -size +16M -exec split -b 16M -d {} {}.part- \; -delete
