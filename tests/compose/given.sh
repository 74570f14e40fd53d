# Tokens that are given: files of a directory, or a variable. Control of a second project suffices.

given=$scratch/tokens
mkdir -p "$given" "$scratch/operator"
echo "given-by-a-file-0123456789" >"$scratch/operator/operator"
as_root chown -R 65532:65532 "$given" "$scratch/operator"
given() {
    COMPOSE_PROJECT_NAME=$COMPOSE_PROJECT_NAME-given WEIR_CONTROL_PORT=$WEIR_GIVEN_PORT \
        WEIR_TOKENS=$given WEIR_OPERATOR=$scratch/operator "$@"
}
calls() {
    curl -s -o /dev/null -w '%{http_code}' -H "Authorization: Bearer $1" \
        "http://127.0.0.1:$WEIR_GIVEN_PORT/v1/nodes"
}
takes() { [[ $(calls "$1") == 200 ]]; }

given quietly "${compose[@]}" up -d control
until_true 30 "a control that takes the token of a file" takes given-by-a-file-0123456789
expect "a given file is kept, and shown" '^given-by-a-file-0123456789$' \
    "$(given "${compose[@]}" exec -T control weir token)"
expect "the others are made, for nodes" '^metrics node $' "$(as_root ls "$given" | tr '\n' ' ')"
expect "for owner and group" '^640 65532:65532$' "$(as_root stat -c '%a %u:%g' "$given/node")"

WEIR_TOKEN=given-by-a-variable-0123 given quietly "${compose[@]}" up -d control
until_true 30 "a control that takes the token of a variable" takes given-by-a-variable-0123
expect "instead of the file's" '^401$' "$(calls given-by-a-file-0123456789)"
expect "and commands in its container find it" '^no node is expected' \
    "$(given "${compose[@]}" exec -T control weir nodes)"
given quietly "${compose[@]}" down --volumes --timeout 5
