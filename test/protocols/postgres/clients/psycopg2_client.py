"""What programs do with psycopg2; prints what they get. The one argument is a URL."""

import datetime
import decimal
import io
import select
import sys
import threading
import uuid

import psycopg2
import psycopg2.errors
import psycopg2.extensions
import psycopg2.extras

url = sys.argv[1]
connection = psycopg2.connect(url, application_name="a program")
cursor = connection.cursor()


def attempt(work):
    try:
        print(work())
    except psycopg2.Error as error:
        print(type(error).__name__, error.pgcode, error.pgerror, error.diag.constraint_name, error.diag.column_name)


print(connection.encoding, connection.server_version > 0, connection.get_parameter_status("standard_conforming_strings"))

# Values there and back.
cursor.execute(
    "CREATE TABLE things (id serial PRIMARY KEY, name text UNIQUE, at timestamptz, price numeric, doc jsonb, tags text[],"
    " raw bytea, day date, u uuid, span interval)"
)
psycopg2.extras.register_uuid()
values = (
    "it's \\ ünï %",
    datetime.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=datetime.timezone.utc),
    decimal.Decimal("12.50"),
    psycopg2.extras.Json({"a": [1, None, "\\"]}),
    ["a", None, 'b"c'],
    b"\x00\xff\\",
    datetime.date(2026, 5, 6),
    uuid.UUID(int=7),
    datetime.timedelta(days=3, seconds=4),
)
cursor.execute(
    "INSERT INTO things (name, at, price, doc, tags, raw, day, u, span) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)"
    " RETURNING id",
    values,
)
print(cursor.fetchone(), cursor.statusmessage, cursor.rowcount)
connection.commit()
with connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as named:
    named.execute("SELECT * FROM things WHERE name = %(name)s", {"name": values[0]})
    row = named.fetchone()
    row["raw"] = bytes(row["raw"])
    print(dict(row))
    print([(column.name, column.type_code, column.internal_size, column.precision) for column in named.description])

# Many at once.
cursor.executemany("INSERT INTO things (name) VALUES (%s)", [("many %d" % n,) for n in range(5)])
psycopg2.extras.execute_values(cursor, "INSERT INTO things (name, price) VALUES %s", [("v%d" % n, n) for n in range(150)])
psycopg2.extras.execute_batch(cursor, "UPDATE things SET price = %s WHERE name = %s", [(n, "v%d" % n) for n in range(9)])
connection.commit()
cursor.execute("SELECT count(*), sum(price) FROM things")
print(cursor.fetchone())

# Copies.
cursor.copy_from(io.StringIO("c1\t1\nc2\t\\N\n"), "things", columns=("name", "price"))
out = io.StringIO()
cursor.copy_expert("COPY (SELECT name, price FROM things WHERE name LIKE 'c%' ORDER BY name) TO STDOUT WITH CSV HEADER", out)
print(out.getvalue())
large = io.StringIO("".join("row %d\t%d\n" % (n, n) for n in range(20000)))
cursor.copy_expert("COPY things (name, price) FROM STDIN", large)
print(cursor.rowcount)
connection.rollback()
attempt(lambda: cursor.copy_from(io.StringIO("c1\tnot a number\n"), "things", columns=("name", "price")))
connection.rollback()

# A cursor in the server.
with connection.cursor("in_the_server", scrollable=True) as cursor_there:
    cursor_there.itersize = 40
    cursor_there.execute("SELECT name FROM things ORDER BY id")
    print(sum(1 for _ in cursor_there))
    cursor_there.scroll(3, mode="absolute")
    print(cursor_there.fetchone())
connection.commit()

# Errors, and transactions that they end.
attempt(lambda: cursor.execute("INSERT INTO things (name) VALUES ('v1')"))
attempt(lambda: cursor.execute("SELECT 1"))
connection.rollback()
cursor.execute("SAVEPOINT here")
attempt(lambda: cursor.execute("SELECT absent FROM things"))
cursor.execute("ROLLBACK TO SAVEPOINT here")
cursor.execute("SELECT 1; SELECT 2")
print(cursor.fetchall())
attempt(lambda: cursor.execute("SELECT FROM WHERE"))
connection.rollback()
with connection, connection.cursor() as inside:
    inside.execute("UPDATE things SET price = 0 WHERE name = 'v1'")
attempt(lambda: cursor.callproc("upper", ["called"]) and cursor.fetchone())
connection.rollback()

# Isolation, read only, two phases.
connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
attempt(lambda: cursor.execute("DELETE FROM things"))
connection.rollback()
connection.set_session(isolation_level="DEFAULT", readonly=False, autocommit=True)
print(connection.status, connection.get_transaction_status())

# Notices and notifications.
cursor.execute("DO $$BEGIN RAISE NOTICE 'noted'; END$$")
print(connection.notices)
cursor.execute("LISTEN news")
other = psycopg2.connect(url)
other.autocommit = True
other.cursor().execute("NOTIFY news, 'hello'")
select.select([connection], [], [], 10)
connection.poll()
print([(each.channel, each.payload) for each in connection.notifies])


# A cancel from another thread, once the statement runs.
def cancel():
    with other.cursor() as watching:
        while True:
            watching.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query = 'SELECT pg_sleep(64)'"
            )
            if watching.fetchone()[0]:
                break
    connection.cancel()


thread = threading.Thread(target=cancel)
thread.start()
attempt(lambda: cursor.execute("SELECT pg_sleep(64)"))
thread.join()

# Without waiting.
waiting = psycopg2.connect(url, async_=True)
psycopg2.extras.wait_select(waiting)
there = waiting.cursor()
there.execute("SELECT %s, repeat('x', 100000)", (1,))
psycopg2.extras.wait_select(waiting)
print([len(str(each)) for each in there.fetchone()])
waiting.close()

cursor.execute("DROP TABLE things")
other.close()
connection.close()
