#!/bin/sh
# What a partner's nightly run looks like: everybody once as a file, then page by page those whom
# a filter chooses. It needs curl 7.76 or newer.
#
#   ANNONA_KEY=annona_live_… sh partner.sh https://exchange.example eligibility-assessment FOLDER
#
# LIMIT is how many records a page has: 1000, or what the environment says.
set -eu
base=$1 purpose=$2 folder=$3
umask 077 # what arrives here is personal data
reply=$(mktemp)
trap 'rm -f "$reply"' EXIT

# ask PATH FILE [OPTION…] appends the answer's body to FILE and keeps its header and trailer in
# $reply. The key goes over standard input: a command line is seen by every account. curl itself
# fails with 18 when a body breaks off, and with 22 when the exchange refuses; FILE then says why.
ask() {
	path=$1 file=$2
	shift 2
	printf 'X-API-Key: %s\n' "$ANNONA_KEY" |
		curl -sS --fail-with-body -H @- -H 'Accept: application/x-ndjson' -D "$reply" \
			-G "$base$path" --data-urlencode "purpose=$purpose" "$@" >>"$file" ||
		{ status=$?; echo "curl ended with $status: $path is not complete, see $file" >&2; exit "$status"; }
}

said() { tr -d '\r' <"$reply" | awk -F': ' -v name="$1" 'tolower($1) == name { value = $2 } END { print value }'; }

# The whole register. Only a file that is complete gets its name.
part=$folder/individuals.ndjson.part
: >"$part"
ask /v1/individuals/export "$part" -d format=ndjson
rows=$(said annona-rows) # absent behind a proxy that drops trailers
lines=$(wc -l <"$part" | tr -d ' ')
if [ -n "$rows" ] && [ "$rows" != "$lines" ]; then
	echo "the exchange sent $rows records and $lines arrived" >&2
	exit 1
fi
mv "$part" "$folder/individuals.ndjson"
echo "individuals: $lines"

# The young children of poor households. Each page names the next one; the last names none.
part=$folder/children.ndjson.part after=
: >"$part"
while
	ask /v1/individuals "$part" -d "limit=${LIMIT:-1000}" -d fields=individual_id,full_name,date_of_birth ${after:+-d "after=$after"} \
		--data-urlencode 'filter=household.poverty_score < 20 && age_on(individual.date_of_birth, as_of) < 5'
	after=$(said annona-next)
	[ -n "$after" ]
do :; done
mv "$part" "$folder/children.ndjson"
echo "children: $(wc -l <"$folder/children.ndjson" | tr -d ' ')"
