#!/usr/bin/env bash
# Makes every results file, and the tables and figures of README.md and docs from them.
#
#   bash benchmarks/reproduce.sh [DIR]                 all of them; goes on where it was stopped
#   bash benchmarks/reproduce.sh --ray ADDRESS [DIR]   the same, its searches on a Ray cluster (local, auto, HOST:PORT)
#   bash benchmarks/reproduce.sh --quick [DIR]         a small version of most, into runs/quick, on CifarNet
#   bash benchmarks/reproduce.sh --checkpoints [DIR]   what ships with the package, and takes hours: weights, data-free sets
#
# DIR holds cifar-10-batches-py; without it, $ADRL_GYM_DATA does. Committed results are only touched by the first and last.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

mode=full
on_ray=()
case "${1:-}" in
    --quick) mode=quick; shift ;;
    --checkpoints) mode=checkpoints; shift ;;
    --ray) on_ray=(--ray "${2:?an address is needed: local, auto or HOST:PORT}"); shift 2 ;;
    -*) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
data=${1:-${ADRL_GYM_DATA:-}}
if [ ! -d "$data/cifar-10-batches-py" ]; then
    echo "no cifar-10-batches-py in '$data': give its folder as an argument or in \$ADRL_GYM_DATA" >&2
    exit 2
fi
python=python3
[ -x .venv/bin/python ] && python=$PWD/.venv/bin/python
export OMP_NUM_THREADS=1 # searches run side by side, each on one core

# once NAME COMMAND...: run a command that does not go on by itself, unless it has ended before.
once() {
    local mark="$work/done/$1"
    shift
    if [ ! -e "$mark" ]; then
        "$@"
        mkdir -p "$work/done" && touch "$mark"
    fi
}

full() {
    work=runs/benchmarks
    for suite in paper ablations comparison; do
        "$python" -m benchmarks.run --suite $suite --data-root "$data" "${on_ray[@]}" # runs.csv learning.csv variance.csv curves.csv
    done                                                               # comparison.csv
    "$python" -m benchmarks.experiments.refits --data-root "$data"     # refit.csv
    "$python" -m benchmarks.searches.refit_ablation --data-root "$data" # refit_ablation.csv
    "$python" -m benchmarks.experiments.finetuning --data-root "$data" # finetune.csv
    "$python" -m benchmarks.experiments.finetuning --data-root "$data" --runs $work/finetuning-8 --epochs 8 \
        --only resnet20-gptq-0.0625-adrl # finetune.csv
    "$python" -m benchmarks.experiments.finetuning --data-root "$data" --runs $work/finetuning-6 --epochs 6 \
        --only resnet20-gptq-0.05-adrl # finetune.csv
    "$python" -m benchmarks.peers.run --data-root "$data" --environments $work/peers # peers.csv
    "$python" -m benchmarks.hardware.activations --data-root "$data"   # activations.csv
    "$python" -m benchmarks.hardware.searched_activations --data-root "$data" --images 500 # activations.csv
    "$python" -m benchmarks.hardware.searched_activations --data-root "$data" --images 500 --budgets 150 --seeds 0 # activations.csv
    once selection-run "$python" agents/train_adrl.py --env-id adrl_gym/CifarNet-Cifar10-v0 --data cifar10 \
        --data-root "$data" --quantizer linear --budget 0.1 --k 4 --context completed --cache none \
        --output $work/selection --resume
    once selection "$python" -m benchmarks.experiments.selection $work/selection --data-root "$data" # selection.csv
    for network in resnet20 cifarnet mobilenet_v2; do
        once "export-$network" "$python" -m benchmarks.experiments.exported_files --network $network --data-root "$data" # export.csv
    done
    for network in resnet20 cifarnet; do
        "$python" -m benchmarks.experiments.evaluate --network $network --data-root "$data"
    done
    "$python" -m benchmarks.experiments.datafree_correlation --network resnet20 --quantizer gptq --configurations 100 --test-images 2000 \
        --data-root "$data" # datafree/resnet20-gptq.csv datafree/resnet20-gptq.json
    "$python" -m benchmarks.experiments.datafree_correlation --network cifarnet --quantizer linear --configurations 100 \
        --data-root "$data" # datafree/cifarnet-linear.csv datafree/cifarnet-linear.json
    "$python" -m benchmarks.experiments.paired_test --data-root "$data"         # paired.csv
    "$python" -m benchmarks.experiments.parity --data-root "$data"       # equality.csv
    "$python" -m benchmarks.experiments.networks                                # networks.csv
    "$python" -m benchmarks.family.train --data-root "$data" --epochs 4 --output $work/family # family_networks.csv; half an hour
    "$python" -m benchmarks.family.policies --data-root "$data" --weights $work/family --output $work/family/policies --seeds 0 1
    "$python" -m benchmarks.family.policies --data-root "$data" --weights $work/family --output $work/family/policies --seeds 2 \
        --designs interactions correction bits
    "$python" -m benchmarks.family.policies --data-root "$data" --weights $work/family --output $work/family/policies --seeds 0 \
        --designs interactions-k3 interactions-no-sensitivity interactions-no-knapsack interactions-3-networks
    "$python" -m benchmarks.family.others --data-root "$data" --weights $work/family --output $work/family/policies
    "$python" -m benchmarks.family.evaluate --data-root "$data" --weights $work/family --policies $work/family/policies # family.csv
    "$python" -m benchmarks.family.figure # docs/family.png
    "$python" -m benchmarks.family.policies --data-root "$data" --weights $work/family --output $work/family/untrained --seeds 0 \
        --designs interactions-untrained
    "$python" -m benchmarks.family.searches --data-root "$data" --policies $work/family/untrained/interactions-untrained-s0/policy.zip \
        $work/family/policies/interactions-s0/policy.zip --seeds 0 --budgets 0.05 # family_searches.csv
    "$python" -m benchmarks.searches.untrained                                  # untrained.csv
    "$python" -m benchmarks.searches.sensitivity --data-root "$data" ${IMAGENET:+--imagenet "$IMAGENET"} # sensitivity.csv
    once depth "$python" -m benchmarks.searches.depth                                 # depth.csv
    if [ -d "${IMAGENET:-}" ]; then # a folder of images with one folder a class, or train/ and val/ with those
        "$python" -m benchmarks.searches.imagenet --data-root "$IMAGENET" \
            --agents adrl uniform ip+gradient greedy+gradient haq adrl+quarter # imagenet.csv
        "$python" -m benchmarks.searches.imagenet --data-root "$IMAGENET" --bits 4 --agents adrl+measured # an hour or two
        "$python" -m benchmarks.hardware.activations --imagenet "$IMAGENET"     # activations.csv
        "$python" -m benchmarks.searches.imagenet_pairs --data-root "$IMAGENET" # imagenet_pairs.csv
        "$python" -m benchmarks.searches.full_size --data-root "$IMAGENET"      # full_size.csv; a machine with nothing else
    fi
    [ -d $work/lazy-before ] || git worktree add --detach $work/lazy-before f9102ae
    once lazy "$python" -m benchmarks.experiments.lazy --before $work/lazy-before # lazy.csv; a machine with nothing else
    [ -d $work/before ] || git worktree add --detach $work/before 28921cc
    once speed "$python" -m benchmarks.experiments.speed --data-root "$data" --before $work/before # speed.csv; a machine with nothing else
    "$python" -m benchmarks.hardware.latency # latency_check.csv; a machine with nothing else
    if [ -d "${IMAGENET:-}" ]; then
        once ray "$python" -m benchmarks.cluster.overhead --data-root "$data" --imagenet "$IMAGENET" # ray.csv; likewise
    fi
    once ray-inputs "$python" -m benchmarks.cluster.inputs # ray_inputs.csv
    "$python" -m benchmarks.cluster.scaling                # ray_scaling.csv
    "$python" -m benchmarks.cluster.pareto --data-root "$data" "${on_ray[@]}" # pareto_resnet20.csv, docs/howto/pareto-resnet20.png
    "$python" -m benchmarks.hardware.fronts # fronts.csv, docs/howto/fronts-resnet20.png
    "$python" -m benchmarks.hardware.runtime --data-root "$data" # runtime.csv; a machine with nothing else
    "$python" -m benchmarks.hardware.linear_layers # linear_layers.csv; likewise
    "$python" -m benchmarks.reporting.figures                                                    # figures
    "$python" -m benchmarks.report
}

quick() {
    work=runs/quick
    "$python" -m benchmarks.run --suite quick --data-root "$data" --runs $work/runs --results $work
    "$python" -m benchmarks.experiments.paired_test --results $work --data-root "$data"
    once selection-run "$python" agents/train_adrl.py --env-id adrl_gym/CifarNet-Cifar10-v0 --data cifar10 \
        --data-root "$data" --quantizer linear --budget 0.1 --k 4 --context completed --cache none --episodes 10 \
        --output $work/runs/selection --resume
    once selection "$python" -m benchmarks.experiments.selection $work/runs/selection --configurations 3 --results $work \
        --data-root "$data"
    once export "$python" -m benchmarks.experiments.exported_files --network cifarnet --test-images 1000 --results $work \
        --data-root "$data"
    "$python" -m benchmarks.experiments.datafree_correlation --network cifarnet --configurations 10 --test-images 1000 \
        --results $work/datafree --data-root "$data"
    once speed "$python" -m benchmarks.experiments.speed --cases cifarnet --repeats 1 --results $work --data-root "$data"
    "$python" -m benchmarks.reporting.figures --results $work --output $work/figures
    "$python" -m benchmarks.report --results $work
    echo "tables and figures: $work/evaluation.md, $work/tables.md, $work/figures"
}

checkpoints() {
    for network in resnet20 cifarnet; do
        "$python" -m benchmarks.experiments.pretrain --network $network --data-root "$data" # pretrain/resnet20.csv pretrain/cifarnet.csv
        "$python" -m benchmarks.experiments.datafree_sets --network $network
    done
}

$mode
