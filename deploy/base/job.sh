#!/usr/bin/env bash
# Measures one half of a result on this machine: clones the repository, runs `make measure`, and pushes
# the matrices and dvc.lock. $WORK holds everything that must survive an eviction: run again with the
# same $WORK, the script continues where it stopped.
# Exit codes: 0: pushed; 64: every further attempt would fail too; 143, 130, 129: stopped by a signal;
# any other one: it may be run again.
set -euo pipefail

say() { echo "job: $*"; }
fail() { echo "job: $*" >&2 && exit 1; }
refuse() { echo "job: $*" >&2 && exit 64; }

# Without these traps bash would ignore signals as the first process of a container.
child='' stopped=''
stop() {
  stopped=$1
  [ -n "$child" ] || exit "$stopped"
  kill -TERM -- "-$child" 2>/dev/null || true
}
trap 'stop 143' TERM
trap 'stop 130' INT
trap 'stop 129' HUP

# The settings.
for name in BACKEND REPOSITORY REVISION DVC_REMOTE_URL WORK; do
  [ -n "${!name:-}" ] || refuse "$name is not set"
done
[[ $BACKEND =~ ^[a-z][a-z0-9_]*$ ]] ||
  refuse "BACKEND: found $BACKEND; allowed: the key of a backend, of small letters, digits and _"
[[ $REVISION =~ ^[0-9a-f]{40}$ ]] ||
  refuse "REVISION: found $REVISION; allowed: a whole commit id, because a branch can move between the two halves"
for name in REPOSITORY DVC_REMOTE_URL; do
  [[ ! ${!name} =~ ^https?://[^/]*@|://[^/]*:[^/]*@ ]] ||
    refuse "$name: holds a password, which would be printed; use a secret"
done
branch=measured-$BACKEND-${REVISION:0:12}${LABEL:+-$LABEL}
clone=$WORK/scoreparity
export SCOREPARITY_CACHE=${SCOREPARITY_CACHE:-$WORK/cache}
export SCOREPARITY_WAIT=${SCOREPARITY_WAIT:-1}

# Git's user and credentials. The token is only in the environment, never on disk or in an argument,
# and git offers it to this repository only.
export GIT_TERMINAL_PROMPT=0
export GIT_AUTHOR_NAME=${GIT_AUTHOR_NAME:-scoreparity}
export GIT_AUTHOR_EMAIL=${GIT_AUTHOR_EMAIL:-scoreparity@localhost}
export GIT_COMMITTER_NAME=$GIT_AUTHOR_NAME GIT_COMMITTER_EMAIL=$GIT_AUTHOR_EMAIL
if [ -n "${GIT_TOKEN:-}" ]; then
  export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0="credential.$REPOSITORY.helper"
  # shellcheck disable=SC2016  # git's own shell expands it
  export GIT_CONFIG_VALUE_0='!f() { echo "username=${GIT_USERNAME:-git}"; echo "password=$GIT_TOKEN"; }; f'
fi

# One attempt at a time. The processes of a killed attempt keep its lock until they end.
mkdir -p "$WORK"
exec 9>"$WORK/job.lock"
flock --nonblock 9 || fail "another attempt is running in $WORK"

if [ ! -d "$clone" ]; then
  say "cloning $REPOSITORY"
  rm -rf "$clone.part"
  git clone --quiet --no-checkout "$REPOSITORY" "$clone.part"
  mv "$clone.part" "$clone"
fi
cd "$clone"
# Locks of a killed attempt. dvc checks process ids, which a new container assigns again.
find .git -name '*.lock' -delete
rm -f .dvc/tmp/rwlock

git remote set-url origin "$REPOSITORY"
git fetch --quiet origin
git cat-file -e "$REVISION^{commit}" 2>/dev/null || git fetch --quiet origin "$REVISION" 2>/dev/null ||
  refuse "REVISION: $REVISION is not in $REPOSITORY"

# A pushed half is not measured again, and another clone's branch is not overwritten.
ours=$(git rev-parse --quiet --verify "refs/heads/$branch" || true)
theirs=$(git ls-remote origin "refs/heads/$branch" | cut -f 1)
if [ -n "$theirs" ]; then
  [ "$theirs" = "$ours" ] ||
    refuse "$branch is in $REPOSITORY already; combine it, delete it there, or set LABEL for another measurement"
  say "$branch is pushed already; nothing is left to do"
  exit 0
fi
if [ "$(git symbolic-ref --quiet --short HEAD || true)" = "$branch" ]; then
  say "continuing in $clone"
elif [ -n "$ours" ]; then
  git checkout --quiet --force "$branch"
else
  git checkout --quiet --force -b "$branch" "$REVISION"
fi

"${MAKE:-make}" .venv/.complete
case $DVC_REMOTE_URL in
  s3://* | gs://*) "${MAKE:-make}" remotes ;;
  *) ;;
esac

# The stages of this half. The oracle is the reference's: it runs in that backend's environment.
pair=$(.venv/bin/python -c 'import yaml
pair = yaml.safe_load(open("params.yaml", encoding="utf-8")).get("pair", {})
print(pair.get("candidate", ""), pair.get("reference", ""))')
read -r candidate reference <<<"$pair"
[ -n "$reference" ] || refuse "REVISION: its params.yaml names no pair of backends"
stages=(workload checkpoint nonce)
case $BACKEND in
  "$candidate") ;;
  "$reference") stages+=(delimiters oracle) ;;
  *) refuse "BACKEND: found $BACKEND; allowed: $candidate, $reference" ;;
esac
matrices=$(.venv/bin/dvc stage list --name-only | grep "^measure@$BACKEND-") ||
  fail "dvc lists no stage measure@$BACKEND"
mapfile -t -O "${#stages[@]}" stages <<<"$matrices"

.venv/bin/dvc remote add --quiet --local --default --force shared "$DVC_REMOTE_URL"

# Both halves must be measured under the nonce of REVISION. Halves of two nonces cannot be combined, and
# accelerators are paid by the hour.
same='both halves must have the same nonce'
prepare='run dvc repro workload checkpoint nonce, commit, dvc push workload checkpoint nonce, git push, and name that commit'
git show "$REVISION:dvc.lock" 2>/dev/null | grep --quiet '^  nonce:' ||
  refuse "REVISION: no nonce in its dvc.lock; $same: $prepare"
if ! .venv/bin/dvc checkout --quiet nonce 2>/dev/null && ! output=$(.venv/bin/dvc pull nonce 2>&1); then
  # Over HTTP dvc reports an unreachable server as one without the file.
  [[ $output == *'Checkout failed'* && $DVC_REMOTE_URL != http* ]] ||
    fail "the nonce could not be pulled, and $same; nothing is measured: $(grep --max-count 1 ERROR <<<"$output" || true)"
  refuse "REVISION: its nonce is not in the DVC remote; $same: dvc push nonce where it was drawn, or $prepare"
fi
.venv/bin/dvc pull --quiet workload 2>/dev/null || true # if it is missing, the same workloads are made here
changed=$(.venv/bin/dvc status nonce | grep -E '(modified|new|deleted):|changed command' || true)
[ -z "$changed" ] ||
  refuse "REVISION: its nonce was drawn for another contract or by other code, so each half would draw its own; $same: $prepare"

say "measuring $BACKEND at ${REVISION:0:12}"
set -m # own process group, so that signals reach the measurement and its servers
env --unset GIT_TOKEN --unset GIT_USERNAME "${MAKE:-make}" measure "BACKEND=$BACKEND" &
child=$!
set +m
code=0
wait "$child" || code=$?
if [ -n "$stopped" ]; then
  for _ in {1..100}; do
    kill -0 -- "-$child" 2>/dev/null || break
    sleep 0.2
  done
  say "stopped; the next attempt continues from here"
  exit "$stopped"
fi
[ "$code" = 0 ] || fail "make measure ended with $code; nothing is pushed, and the next attempt continues from here"
child=''

# Push the data first, so that a pushed branch always has its data.
git add dvc.lock
git diff --cached --quiet || git commit --quiet --message "Measured $BACKEND at ${REVISION:0:12}"
.venv/bin/dvc push "${stages[@]}" || fail "the matrices could not be stored; the branch is not pushed either"
git push --quiet origin "HEAD:refs/heads/$branch" || fail "the branch could not be pushed; the matrices are stored"
say "pushed $branch; once the other half is there too: git fetch && make combine FROM='origin/$branch origin/OTHER_BRANCH'"
