# The image on an engine: it is loaded, gets healthy, and has the settings of deploy/Dockerfile.
# shellcheck shell=bash disable=SC2154

quietly skopeo inspect "oci-archive:$image"
ok "skopeo reads the image"
said=$(docker load -q -i "$image")
name=${said##*: }
docker tag "$name" "weir:test-$$"
docker image rm "$name" >/dev/null
docker run -d --name "$machine-image" --network none --read-only --cap-drop ALL "weir:test-$$" \
    serve --origin http://127.0.0.1:3000 >/dev/null
healthy() { [[ $(docker inspect -f '{{.State.Health.Status}}' "$machine-image") == healthy ]]; }
until_true 30 "a healthy container" healthy
ok "the image gets healthy"
expect "it has nothing but the program" '^commit ' "$(docker exec "$machine-image" weir --version | grep commit)"

settings='{{.User}} {{json .ExposedPorts}} {{json .Healthcheck}} {{json .Entrypoint}} {{.Cmd}} {{.StopSignal}} {{.Env}}'
of_image=$(docker image inspect -f "{{with .Config}}$settings{{end}}" "weir:test-$$")
docker build -q -f deploy/Dockerfile --target base -t "weir:test-$$" . >/dev/null 2>&1 || fail "deploy/Dockerfile"
of_dockerfile=$(docker image inspect -f "{{with .Config}}$settings{{end}}" "weir:test-$$")
[[ $of_image == "$of_dockerfile" ]] || fail "deploy/Dockerfile differs: $of_image, $of_dockerfile"
ok "its settings are those of deploy/Dockerfile"

for member in $(sed -n 's/^members = \[\(.*\)\]/\1/p' Cargo.toml | tr -d '",'); do
    [[ $member == . ]] || grep -qx "!${member%%/*}" .dockerignore || fail ".dockerignore keeps out $member"
done
ok "every crate is in the context of deploy/Dockerfile"
