#!/usr/bin/env bash
# Leaves a CSV file of what changed in a folder that another system picks up. The first run drops a snapshot.
# A run that is cut off is repeated: the cursor moves only when the file stands there.
#
#   drop_csv.sh COMPANY FOLDER
set -euo pipefail
company=$1 folder=$2
mkdir -p "$folder"
notes=$(mktemp)
trap 'rm -f "$notes"' EXIT

if [ -s "$folder/cursor" ]; then
    cursor=$(cat "$folder/cursor")
    what=(--since "$cursor")
    name="changes-after-$cursor.csv"
else
    what=(--snapshot)
    name="snapshot.csv"
fi
if ! churn export --company "$company" --format raw-csv "${what[@]}" --output "$folder/$name" 2> "$notes"; then
    cat "$notes" >&2
    echo "If the cursor is behind the retention: remove $folder/cursor, and the next run drops a snapshot." >&2
    exit 1
fi
next=$(sed -n 's/^next cursor: //p' "$notes")
# An empty file tells nobody anything.
if [ "$next" = "${cursor:-}" ]; then
    rm "$folder/$name"
fi
echo "$next" > "$folder/.cursor" && mv "$folder/.cursor" "$folder/cursor"
