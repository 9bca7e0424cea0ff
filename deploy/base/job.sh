#!/usr/bin/env bash
# One half of a result on whatever machine this runs: clone, `make measure`, push matrices and lock.
# All that must outlive an eviction lies in $WORK: run again with the same $WORK, it goes on there.
# Exit codes: 0 pushed, 64 what no further attempt can mend, 143 (130, 129) stopped by a signal;
# after any other one it may be run again.
set -euo pipefail

say() { echo "job: $*"; }
fail() { echo "job: $*" >&2 && exit 1; }
refuse() { echo "job: $*" >&2 && exit 64; }

# As the first process of a container bash would not hear a signal without these.
child='' stopped=''
stop() {
  stopped=$1
  [ -n "$child" ] || exit "$stopped"
  kill -TERM -- "-$child" 2>/dev/null || true
}
trap 'stop 143' TERM
trap 'stop 130' INT
trap 'stop 129' HUP

# What to measure, and where from.
for name in BACKEND REPOSITORY REVISION DVC_REMOTE_URL WORK; do
  [ -n "${!name:-}" ] || refuse "$name is not set"
done
case $BACKEND in
  jax) stages=(workload checkpoint nonce) ;;
  pytorch) stages=(workload checkpoint nonce delimiters oracle) ;;
  *) refuse "BACKEND: found $BACKEND; allowed: jax, pytorch" ;;
esac
stages+=("measure@$BACKEND-portable" "measure@$BACKEND-best_native")
[[ $REVISION =~ ^[0-9a-f]{40}$ ]] ||
  refuse "REVISION: found $REVISION; allowed: a whole commit id, for a branch can move between the two halves"
for name in REPOSITORY DVC_REMOTE_URL; do
  [[ ! ${!name} =~ ^https?://[^/]*@|://[^/]*:[^/]*@ ]] ||
    refuse "$name: holds a password, which would be shown; give it in a secret"
done
branch=measured-$BACKEND-${REVISION:0:12}${LABEL:+-$LABEL}
clone=$WORK/scoreparity
export SCOREPARITY_CACHE=${SCOREPARITY_CACHE:-$WORK/cache}
export SCOREPARITY_WAIT=${SCOREPARITY_WAIT:-1}

# Who speaks to git. The token stays in the environment: on no disk, in no argument, and it is
# offered to this repository alone.
export GIT_TERMINAL_PROMPT=0
export GIT_AUTHOR_NAME=${GIT_AUTHOR_NAME:-scoreparity}
export GIT_AUTHOR_EMAIL=${GIT_AUTHOR_EMAIL:-scoreparity@localhost}
export GIT_COMMITTER_NAME=$GIT_AUTHOR_NAME GIT_COMMITTER_EMAIL=$GIT_AUTHOR_EMAIL
if [ -n "${GIT_TOKEN:-}" ]; then
  export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0="credential.$REPOSITORY.helper"
  # shellcheck disable=SC2016  # git's own shell expands it
  export GIT_CONFIG_VALUE_0='!f() { echo "username=${GIT_USERNAME:-git}"; echo "password=$GIT_TOKEN"; }; f'
fi

# One attempt at a time, and the processes of one that was killed count as it.
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
# What a killed attempt left locked. dvc goes by process ids, which a new container uses again.
find .git -name '*.lock' -delete
rm -f .dvc/tmp/rwlock

git remote set-url origin "$REPOSITORY"
git fetch --quiet origin
git cat-file -e "$REVISION^{commit}" 2>/dev/null || git fetch --quiet origin "$REVISION" 2>/dev/null ||
  refuse "REVISION: $REVISION is not in $REPOSITORY"

# What is pushed already is not measured again, and another's branch is not overwritten.
ours=$(git rev-parse --quiet --verify "refs/heads/$branch" || true)
theirs=$(git ls-remote origin "refs/heads/$branch" | cut -f 1)
if [ -n "$theirs" ]; then
  [ "$theirs" = "$ours" ] ||
    refuse "$branch is in $REPOSITORY already; collect it, delete it there, or set LABEL for another measurement"
  say "$branch is pushed already, nothing is left to do"
  exit 0
fi
if [ "$(git symbolic-ref --quiet --short HEAD || true)" = "$branch" ]; then
  say "going on in $clone"
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
.venv/bin/dvc remote add --quiet --local --default --force shared "$DVC_REMOTE_URL"

# Both halves must be measured under one nonce, that of REVISION. If each drew its own, neither would be
# of use, and an accelerator is paid for by the hour.
same='both halves must have the same nonce'
prepare='run dvc repro workload checkpoint nonce, commit, dvc push workload checkpoint nonce, git push, and name that commit'
git show "$REVISION:dvc.lock" 2>/dev/null | grep --quiet '^  nonce:' ||
  refuse "REVISION: no nonce in its dvc.lock; $same: $prepare"
if ! .venv/bin/dvc checkout --quiet nonce 2>/dev/null && ! said=$(.venv/bin/dvc pull nonce 2>&1); then
  # Over HTTP dvc takes a server that it cannot reach for one that has nothing.
  [[ $said == *'Checkout failed'* && $DVC_REMOTE_URL != http* ]] ||
    fail "the nonce could not be pulled, and $same; nothing is measured: $(grep --max-count 1 ERROR <<<"$said" || true)"
  refuse "REVISION: its nonce is not in the DVC remote; $same: dvc push nonce where it was drawn, or $prepare"
fi
.venv/bin/dvc pull --quiet workload 2>/dev/null || true # else the same is made here
changed=$(.venv/bin/dvc status workload nonce | grep -E '(modified|new|deleted):|changed command' || true)
changed=$(grep --invert-match 'deleted: *data/workload' <<<"$changed" || true)
[ -z "$changed" ] ||
  refuse "REVISION: its nonce was drawn for another contract or by other code, so each half would draw its own; $same: $prepare"

say "measuring $BACKEND at ${REVISION:0:12}"
set -m # a process group of its own, so that a signal reaches the measurement itself
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
  say "stopped; the next attempt goes on from here"
  exit "$stopped"
fi
[ "$code" = 0 ] || fail "make measure ended with $code; nothing is pushed, the next attempt goes on from here"
child=''

# The data first: whoever sees the branch can pull it.
git add dvc.lock
git diff --cached --quiet || git commit --quiet --message "Measured $BACKEND at ${REVISION:0:12}"
.venv/bin/dvc push "${stages[@]}" || fail "the matrices could not be stored; the branch is not pushed either"
git push --quiet origin "HEAD:refs/heads/$branch" || fail "the branch could not be pushed; the matrices are stored"
say "pushed $branch; once the other half is there too: git fetch && make combine FROM='origin/$branch origin/OTHER_BRANCH'"
