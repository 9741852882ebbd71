#!/bin/sh
# Gives one secret of the stack a new value: where it is checked, in its file, and in the services that read it, which
# start again. A run that goes on meanwhile is ended and goes on from where it stood.
#
#   docker/rotate-secret.sh churn_owner_password
#   docker/rotate-secret.sh churn_mail_url < new-value      (values that others give: churn_mail_url,
#                                                            metabase_smtp_password, metabase_admin_password)
set -eu
cd "$(dirname "$0")/.."
name=${1:?Which secret? One of the files in secrets/}
file=secrets/$name
[ -f "$file" ] || { echo "There is no $file: docker/make-secrets.sh makes what is missing." >&2; exit 1; }

# The services that run on with this file in them, whatever their profile. Postgres reads its files once, on an empty
# volume.
readers() {
    docker compose ps --all --quiet | xargs docker inspect --format \
        '{{$container := .}}{{range .Mounts}}{{$container.HostConfig.RestartPolicy.Name}} {{index $container.Config.Labels "com.docker.compose.service"}} {{.Source}}{{println}}{{end}}' |
        awk -v file="/$file" '$1 == "unless-stopped" && $2 != "postgres" &&
            substr($0, length($0) - length(file) + 1) == file { print $2 }'
}

fresh_password() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

# Into the file that is there: containers hold on to it, and would not see another one of its name.
write() { printf '%s' "$1" > "$file"; }

given_value() {
    value=$(cat)
    [ -n "$value" ] || { echo "$name takes its new value from standard input, which is empty: nothing is changed." >&2; exit 1; }
    write "$value"
}

# The role's password in Postgres, by the superuser inside the container; it goes through no argument and no log.
alter_role() {
    docker compose exec -T postgres psql --quiet --no-psqlrc --set ON_ERROR_STOP=1 --username postgres --dbname postgres <<SQL
set log_statement = 'none';
set log_min_duration_statement = -1;
set log_min_error_statement = 'panic';
alter role $1 password '$2';
SQL
}

start_again() {
    services=$(readers)
    [ -z "$services" ] || docker compose up --detach --no-build --no-deps --force-recreate --wait $services
}

case $name in
postgres_password)
    new=$(fresh_password); alter_role postgres "$new"; write "$new" ;;
churn_owner_password)
    new=$(fresh_password); alter_role churn_owner "$new"; write "$new"; start_again ;;
metabase_db_password)
    new=$(fresh_password); alter_role metabase "$new"; write "$new"; start_again ;;
metabase_smtp_password | churn_mail_url)
    given_value; start_again ;;
metabase_admin_password)
    echo "Metabase itself knows it: change it there first (Account settings), and give the same value here." >&2
    given_value; start_again ;;
churn_secret_key)
    # Until all is encrypted again the old key stays in a file: an interrupted rotation goes on from there.
    old=secrets/churn_secret_key_previous
    if [ ! -s "$old" ]; then cp "$file" "$old"; chmod 0644 "$old"; fi
    if [ ! -s "$file" ] || cmp -s "$file" "$old"; then write "$(head -c 32 /dev/urandom | base64 | tr '+/' '-_')"; fi
    docker compose run --rm --no-deps -T --volume "$PWD/$old:/etc/churn/secrets/churn_secret_key_previous:ro" migrate \
        churn secret rotate
    start_again
    rm "$old" ;;
metabase_encryption_key)
    echo "Metabase turns its stored secrets by a command of its own, rotate-encryption-key; docs/deployment.md has it." >&2
    exit 1 ;;
*)
    echo "$name is no secret of the stack." >&2; exit 1 ;;
esac
echo "$name is new."
