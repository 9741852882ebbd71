#!/bin/sh
# Makes each secret that is not there yet, as a file of its own under secrets/ beside docker-compose.yml.
# The folder is closed to others; the files are readable, since a container reads them as another user.
set -eu
cd "$(dirname "$0")/.."
umask 077
mkdir -p secrets
for name in postgres_password churn_owner_password metabase_db_password metabase_encryption_key metabase_admin_password \
    metabase_smtp_password
do
    [ -s "secrets/$name" ] || od -An -N24 -tx1 /dev/urandom | tr -d ' \n' > "secrets/$name"
    chmod 0644 "secrets/$name"
done
# A Fernet key: 32 bytes in URL-safe base64.
[ -s secrets/churn_secret_key ] || head -c 32 /dev/urandom | base64 | tr '+/' '-_' > secrets/churn_secret_key
# Where there is no mail server yet, the mail catcher of the profile `mail`.
[ -s secrets/churn_mail_url ] || printf 'mailto://mail:1025?from=churn@example.com&mode=insecure\n' > secrets/churn_mail_url
chmod 0644 secrets/churn_secret_key secrets/churn_mail_url
echo "secrets/ holds: $(ls secrets | tr '\n' ' ')"
