#!/usr/bin/env bash
# Runs "fauxlet check" for action.yaml, and writes a JUnit report. It also runs outside of GitHub. It reads these
# variables; action.yaml describes their meanings:
#
#   FAUXLET_PROGRAM        the program (default: fauxlet)
#   FAUXLET_KUBECONFIG     the input kubeconfig
#   FAUXLET_ARGS           the input args, one argument per line
#   FAUXLET_REPORT         the input report (default: fauxlet-check.xml)
#   FAUXLET_ALLOW_FAILURE  the input allow-failure: true or false (default: false)
#   GITHUB_OUTPUT          the file for the outputs exit-code and report (default: no file)
set -euo pipefail

report=${FAUXLET_REPORT:-fauxlet-check.xml}
output=${GITHUB_OUTPUT:-/dev/null}

# finish writes the outputs and ends the script. Its arguments are the exit code and the path of the report.
finish() {
	printf 'exit-code=%s\nreport=%s\n' "$1" "$2" >>"$output"
	if [ "${FAUXLET_ALLOW_FAILURE:-false}" = true ]; then exit 0; fi
	exit "$1"
}
# invalid reports an invalid input. Its arguments are the name of the input, and the problem.
invalid() {
	echo "fauxlet action: $1: $2" >&2
	printf 'exit-code=2\nreport=\n' >>"$output"
	exit 2
}

case ${FAUXLET_ALLOW_FAILURE:-false} in
true | false) ;;
*) invalid allow-failure "\"$FAUXLET_ALLOW_FAILURE\" is neither true nor false" ;;
esac
case $report in *[$'\r\n']*) invalid report "the path must be one line" ;; esac
program=${FAUXLET_PROGRAM:-fauxlet}
command -v "$program" >/dev/null || invalid fauxlet "\"$program\" is not a program; give the path of fauxlet, or nothing"

args=()
if [ -n "${FAUXLET_KUBECONFIG:-}" ]; then args+=("--kubeconfig=$FAUXLET_KUBECONFIG"); fi
while IFS= read -r line; do
	line=${line%$'\r'}
	if [ -n "$line" ]; then args+=("$line"); fi
done <<<"${FAUXLET_ARGS:-}"

if [ -d "$report" ]; then invalid report "\"$report\" is a folder; give the path of a file"; fi
mkdir -p -- "$(dirname -- "$report")" && rm -f -- "$report" && : >"$report.part" ||
	invalid report "\"$report\" cannot be written"
# If no check ran, for example because kube-apiserver cannot be reached, fauxlet prints no report.
status=0
"$program" check ${args[@]+"${args[@]}"} --output=junit >"$report.part" || status=$?
if [ -s "$report.part" ]; then
	mv -- "$report.part" "$report"
	finish "$status" "$report"
fi
rm -f -- "$report.part"
finish "$status" ""
