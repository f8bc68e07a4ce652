"""What one reader makes of exported files, as JSON: read.py READER FOLDER. The same facts from every reader."""
import json
import os
import sys

reader, folder = sys.argv[1:]
# Readers that mix up local time and UTC are to be caught.
os.environ["TZ"] = "America/New_York"

FACTS = {
    "spans": ["count(*)", "sum({int}(start_time_unix_nano % 1000000007))", "count(distinct trace_id)", "max(span_id)", "min(server_ip)", "sum(case when complete then 1 else 0 end)", "count(distinct node)", "min(start_time_unix_nano)", "sum(case when {micros} = {intdiv} then 1 else 0 end)", "sum(case when {hour} = cast(hour as integer) then 1 else 0 end)"],
    "socket_events": ["count(*)", "max(process_id)", "sum(case when {micros_ts} = {intdiv_ts} then 1 else 0 end)", "max({hex})", "count(remote_ip)", "max(node)"],
}


def sql(dialect, relation):
    return "select " + ", ".join(fact.replace("server_ip", "local_ip").format(**dialect) for fact in FACTS[relation])


def duck():
    import duckdb

    con = duckdb.connect()
    con.execute("set timezone = 'America/New_York'")
    dialect = dict(int="", micros="epoch_us(start_time)", intdiv="start_time_unix_nano // 1000", micros_ts="epoch_us(ts)", intdiv_ts="ts_unix_nano // 1000", hour="hour(start_time at time zone 'UTC')", hex="hex(payload)")
    facts = {r: con.execute(f"{sql(dialect, r)} from read_parquet('{folder}/{r}/**/*.parquet', hive_partitioning = true)").fetchone() for r in FACTS}
    types = {name: kind for name, kind, *_ in con.execute(f"describe select * from read_parquet('{folder}/spans/**/*.parquet')").fetchall()}
    return facts, types


def clickhouse():
    from chdb import session

    con = session.Session()
    micros = lambda column: f"toUnixTimestamp64Micro(assumeNotNull({column}))"
    dialect = dict(int="", micros=micros("start_time"), intdiv="intDiv(start_time_unix_nano, 1000)", micros_ts=micros("ts"), intdiv_ts="intDiv(ts_unix_nano, 1000)", hour="toHour(start_time, 'UTC')", hex="hex(payload)")
    run = lambda text: json.loads(str(con.query(text + " settings use_hive_partitioning = 1", "JSONCompact")))["data"]
    facts = {r: run(f"{sql(dialect, r)} from file('{folder}/{r}/**/*.parquet', Parquet)")[0] for r in FACTS}
    types = {name: kind for name, kind, *_ in json.loads(str(con.query(f"describe file('{folder}/spans/**/*.parquet', Parquet)", "JSONCompact")))["data"]}
    return facts, types


def spark():
    from pyspark.sql import SparkSession

    con = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").config("spark.sql.session.timeZone", "America/New_York").config("spark.sql.shuffle.partitions", "1").getOrCreate()
    con.sparkContext.setLogLevel("ERROR")
    dialect = dict(int="", micros="unix_micros(start_time)", intdiv="start_time_unix_nano div 1000", micros_ts="unix_micros(ts)", intdiv_ts="ts_unix_nano div 1000", hour="hour(to_utc_timestamp(start_time, 'America/New_York'))", hex="hex(payload)")
    facts = {}
    for r in FACTS:
        con.read.parquet(f"{folder}/{r}").createOrReplaceTempView(r)
        facts[r] = list(con.sql(f"{sql(dialect, r)} from {r}").first())
    types = dict(con.read.parquet(f"{folder}/spans").dtypes)
    return facts, types


def arrow():
    import datetime

    import pyarrow.dataset as ds

    rows = {r: ds.dataset(f"{folder}/{r}", partitioning="hive").to_table() for r in FACTS}
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
    micros = lambda time: (time - epoch) // datetime.timedelta(microseconds=1)
    spans, events = (rows[r].to_pylist() for r in FACTS)
    facts = {
        "spans": [
            len(spans), sum(s["start_time_unix_nano"] % 1000000007 for s in spans), len({s["trace_id"] for s in spans}), max(s["span_id"] for s in spans), min(s["local_ip"] for s in spans), sum(s["complete"] for s in spans),
            len({s["node"] for s in spans}), min(s["start_time_unix_nano"] for s in spans), sum(micros(s["start_time"]) == s["start_time_unix_nano"] // 1000 for s in spans), sum(s["start_time"].hour == int(s["hour"]) for s in spans),
        ],
        "socket_events": [len(events), max(e["process_id"] for e in events if e["process_id"] is not None), sum(micros(e["ts"]) == e["ts_unix_nano"] // 1000 for e in events), max(e["payload"].hex().upper() for e in events if e["payload"] is not None), sum(e["remote_ip"] is not None for e in events), max(e["node"] for e in events)],
    }
    types = {field.name: str(field.type) for field in rows["spans"].schema}
    return facts, types


facts, types = {"duckdb": duck, "chdb": clickhouse, "pyspark": spark, "pyarrow": arrow}[reader]()
wanted = ["start_time", "start_time_unix_nano", "span_id", "kind", "local_ip", "local_port", "complete", "parent_confidence"]
print("RESULT " + json.dumps({"facts": {r: [None if fact is None else str(fact) for fact in row] for r, row in facts.items()}, "types": {name: types[name] for name in wanted}}))
