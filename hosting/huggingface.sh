#!/usr/bin/env bash
# Pushes what is committed here to a Hugging Face Space, as one commit: ./hosting/huggingface.sh https://huggingface.co/spaces/YOU/NAME
# A Space wants its settings on top of README.md, and refuses pictures and PDFs that are not in its large file store: the
# first are written, the second left out, there only. What the Space holds is replaced.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
space=${1:?the address of the Space, e.g. https://huggingface.co/spaces/YOU/NAME}
GIT_INDEX_FILE=$(mktemp -u)
export GIT_INDEX_FILE
trap 'rm -f "$GIT_INDEX_FILE"' EXIT
git read-tree HEAD
git ls-files -z -- '*.png' '*.pdf' | xargs -0 git rm --cached --quiet --ignore-unmatch --
readme=$({ cat hosting/huggingface.yaml && git show HEAD:README.md; } | git hash-object -w --stdin)
git update-index --cacheinfo "100644,$readme,README.md"
commit=$(git commit-tree "$(git write-tree)" -m "$(git log -1 --format=%s)")
git push --force "$space" "$commit:refs/heads/main"
