#!/usr/bin/env bash
# Which ratings should count as likes, and how much? Evaluates the same lists trained on different answers.
# Prints a row per answer: nDCG@10, recall@10 and stratified recall@10 for strangers with 1, 3, 5 and 10 favourites, coverage,
# novelty.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
warehouse=$(mktemp -d)
trap 'rm -rf "$warehouse"' EXIT
row() {
    ./spark-submit.sh jobs/evaluate.py --set warehouse.dir="$warehouse" --set evaluation.max_compared_ratings=0 \
        --set evaluation.protocol=strangers "${@:2}" |
        awk -v name="$1" '/^served  / && !printed++ {sub(/^served  */, ""); printf "%-28s%s\n", name, $0}'
}
for stars in 0.5 4.0; do
    row "$stars stars or more, alike" --set likes.weight=constant --set likes.min_rating=$stars "$@"
done
for neutral in 3.0 2.0; do
    row "graded from $neutral stars" --set likes.weight=graded --set likes.neutral_rating=$neutral "$@"
done
