# shellcheck shell=bash
# What the example scripts share; sourced by them.

PYTHON=${PYTHON:-python3}

die() {
    echo "$(basename "$0"): $*" >&2
    exit 2
}

# The comment at the top of a script.
help_if_asked() {
    case "${1:-}" in -h | --help)
        sed -n '2,/^$/s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    esac
}

# Which names of keys the installed verl obeys: "reward." before them from 0.9 on, nothing up to 0.8. From 0.9 on the
# old ones are accepted and ignored: the run ends well, and the judge was never asked.
choose_keys() {
    local version key
    version=$("$PYTHON" -c 'from importlib.metadata import version; print(version("verl"))' 2>/dev/null) ||
        die "verl is not installed for $PYTHON"
    KEYS=""
    if [ "$(printf '%s\n' 0.9.0 "$version" | sort -V | head -n 1)" = 0.9.0 ]; then
        KEYS=reward.
        for key in "$@"; do
            case "${key#"${key%%[!+]*}"}" in custom_reward_function[.=]* | reward_model[.=]* | sandbox_fusion[.=]*)
                die "verl $version accepts ${key%%=*} and ignores it in silence; docs/doctor.md has the new name"
                ;;
            esac
        done
    fi
}

# GRPO with the function NAME of PATH: train PATH NAME [more keys...]
train() {
    local path=$1 name=$2
    shift 2
    export VERL_USE_EXTERNAL_MODULES=${VERL_USE_EXTERNAL_MODULES:-genrm.verl_plugin}
    export GENRM_ON_NO_VERDICT=${GENRM_ON_NO_VERDICT:-skip}
    choose_keys "$@"
    local command=(
        "$PYTHON" -m verl.trainer.main_ppo
        algorithm.adv_estimator=genrm_grpo
        algorithm.use_kl_in_reward=False
        data.train_files="$TRAIN" data.val_files="$VAL"
        data.train_batch_size="$PROMPTS"
        data.max_prompt_length=1024 data.max_response_length=4096
        actor_rollout_ref.model.path="$MODEL"
        actor_rollout_ref.model.enable_gradient_checkpointing=True
        actor_rollout_ref.actor.optim.lr=1e-6
        actor_rollout_ref.actor.use_kl_loss=True
        actor_rollout_ref.actor.ppo_mini_batch_size="$PROMPTS"
        actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=4
        actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu=8
        actor_rollout_ref.rollout.name=vllm
        actor_rollout_ref.rollout.n="$ROLLOUTS"
        actor_rollout_ref.rollout.tensor_model_parallel_size=1
        actor_rollout_ref.rollout.gpu_memory_utilization="${ROLLOUT_MEMORY:-0.6}"
        actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=8
        trainer.n_gpus_per_node="$GPUS" trainer.nnodes=1
        trainer.project_name=genrm trainer.experiment_name="$(basename "$0" .sh)"
        trainer.total_epochs="${EPOCHS:-1}" trainer.test_freq=10 trainer.save_freq=50
        "${KEYS}custom_reward_function.path=$path"
        "${KEYS}custom_reward_function.name=$name"
        "$@"
    )
    if [ -z "${DRY_RUN:-}" ] && [ -z "${SKIP_DOCTOR:-}" ]; then
        "$PYTHON" -m genrm.cli doctor --config <(DRY_RUN=1 run "${command[@]}") >&2 ||
            die "genrm doctor says that this cannot go well; SKIP_DOCTOR=1 does not ask"
    fi
    run "${command[@]}"
}

# Run a command; with DRY_RUN=1 print it, and the variables that it would find, as a script. Keys are left out.
run() {
    if [ -z "${DRY_RUN:-}" ]; then
        "$@"
        return
    fi
    local variable shown='^(GENRM_|VERL_USE_EXTERNAL_MODULES$|CUDA_VISIBLE_DEVICES$)'
    for variable in $(compgen -e | grep -E "$shown" | grep -v API_KEY | sort); do
        printf 'export %s=%q\n' "$variable" "${!variable}"
    done
    printf '%q ' "$@"
    printf '\n'
}

# Python's exit code says whether a server answers at a URL, and whether anything at all listens there. It is on this
# host: a proxy that the environment names would answer for it.
ANSWERS='import sys, urllib.request as http; http.build_opener(http.ProxyHandler({})).open(sys.argv[1], timeout=5)'
LISTENS='import socket, sys, urllib.parse; at = urllib.parse.urlsplit(sys.argv[1])
socket.create_connection((at.hostname, at.port), timeout=5)'

# Start a server in the background, wait until it answers, and end it when the script ends: serve URL COMMAND...
serve() {
    local url=$1 server deadline
    shift
    if [ -n "${DRY_RUN:-}" ]; then
        echo "$(run "$@")&"
        echo "trap 'kill \$! 2>/dev/null || true; wait \$! || true' EXIT"
        printf "until %q -c '%s' %q 2>/dev/null; do kill -0 \$! || exit 1; sleep 2; done\n" "$PYTHON" "$ANSWERS" "$url"
        return
    fi
    # It would be taken for ours, and put to sleep.
    if "$PYTHON" -c "$LISTENS" "$url" 2>/dev/null; then
        die "something listens already where the judge is to be served, $url: perhaps another user's judge." \
            "PORT=... takes another port"
    fi
    "$@" &
    server=$!
    # shellcheck disable=SC2064 # this server, now
    trap "kill $server 2>/dev/null || true; wait $server || true" EXIT
    deadline=$((SECONDS + ${JUDGE_START_SECONDS:=900}))
    until "$PYTHON" -c "$ANSWERS" "$url" 2>/dev/null; do
        kill -0 $server 2>/dev/null || die "the judge's server has ended"
        [ $SECONDS -lt $deadline ] ||
            die "the judge's server does not answer at $url after $JUDGE_START_SECONDS s." \
                "JUDGE_START_SECONDS=... gives it longer"
        sleep 2
    done
    kill -0 $server 2>/dev/null ||
        die "the judge's server has ended, and something else answers at $url. PORT=... takes another port"
}

require() {
    local variable
    for variable in "$@"; do
        [ -n "${!variable:-}" ] || die "$variable is not set; --help says what it is"
    done
}

PROMPTS=${PROMPTS:-128}
ROLLOUTS=${ROLLOUTS:-8}
GPUS=${GPUS:-8}
