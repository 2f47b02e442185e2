/* Replicas: the socket of an attempt, seen from outside its sandbox, and the relay of a port. */
#include "engine/test_world.h"

#include "base/file.h"
#include "base/strbuf.h"
#include "engine/init_relay.h"
#include "engine/layout.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

enum { PORT = 8080, PATIENCE_MS = 60000 };

/* ---- Asking ------------------------------------------------------------------------------ */

/* Connects to the attempt's socket as whoever is not in its sandbox does: by descriptor, since the
 * path may be too long for an address and what is there may be anything. -1: errno says why. */
static int try_connect(const struct world *world, uint64_t attempt)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat st;
    SCOPED(mem_scope) char *path = engine_serve_socket(world->engine, attempt);
    SCOPED(fd_scope) int held = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (held < 0)
        return -1;
    assert_int_equal(fstat(held, &st), 0);
    assert_true(S_ISSOCK(st.st_mode));
    assert_int_equal(st.st_uid, geteuid() == 0 ? WORLD_TEAM : geteuid());
    snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d", held);
    SCOPED(fd_scope) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) < 0)
        return -1;
    int connected = fd;
    fd = -1;
    return connected;
}

static int must_connect(const struct world *world, uint64_t attempt)
{
    int fd = try_connect(world, attempt);
    if (fd < 0)
        fail_msg("cannot connect to the socket: %s", strerror(errno));
    return fd;
}

static void must_send(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Reads until there is no more, or the buffer is full; what was read, without its NUL. It fails the
 * test where nothing comes in a minute. */
static size_t read_end(int fd, char *text, size_t size)
{
    size_t used = 0;
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    while (used < size - 1) {
        if (poll(&readable, 1, PATIENCE_MS) != 1)
            fail_msg("nothing came after %zu bytes", used);
        ssize_t n = recv(fd, text + used, size - 1 - used, 0);
        if (n <= 0)
            break;
        used += (size_t)n;
    }
    text[used] = '\0';
    return used;
}

/* Reads one line, which comes in one piece or several. */
static void expect_line(int fd, const char *expected)
{
    char text[100];
    size_t length = strlen(expected);
    assert_true(length < sizeof text);
    assert_int_equal(read_end(fd, text, length + 1), length);
    assert_string_equal(text, expected);
}

/* ---- Programs that serve ----------------------------------------------------------------- */

static struct launch *python(struct world *world, uint64_t id, const char *program)
{
    static const char *argv[] = {"/usr/bin/python3", "-c", NULL, NULL};
    struct launch *launch = world_script(world, id, "");
    argv[2] = program;
    launch->argv = argv;
    launch->serve = (struct launch_serve){.on = true, .port = PORT};
    return launch;
}

/* Answers each line with "got LINE", for ever. */
#define ECHO                                                                                       \
    "import os, socketserver\n"                                                                    \
    "class Echo(socketserver.StreamRequestHandler):\n"                                             \
    "    def handle(self):\n"                                                                      \
    "        for line in self.rfile: self.wfile.write(b'got ' + line)\n"                           \
    "class Server(socketserver.ThreadingTCPServer):\n"                                             \
    "    daemon_threads = allow_reuse_address = True\n"                                            \
    "    request_queue_size = 1000\n"                                                              \
    "server = Server(('127.0.0.1', int(os.environ['MUSTER_PORT'])), Echo)\n"                       \
    "print('listening', flush=True)\n"                                                             \
    "server.serve_forever()\n"

static void ask(const struct world *world, uint64_t attempt)
{
    SCOPED(fd_scope) int fd = must_connect(world, attempt);
    must_send(fd, "hello\n");
    expect_line(fd, "got hello\n");
    must_send(fd, "again\n");
    expect_line(fd, "got again\n");
}

/* ---- The socket -------------------------------------------------------------------------- */

static void test_a_replica_listens_at_its_socket(void **state)
{
    struct world *world = *state;
    struct launch *launch = python(world, 1,
        "import os, socket\n"
        "s = socket.socket(socket.AF_UNIX)\n"
        "s.bind(os.environ['MUSTER_SOCKET']); s.listen()\n"
        "print('listening', os.environ['MUSTER_SOCKET'], os.environ.get('MUSTER_PORT'), "
        "flush=True)\n"
        "c = s.accept()[0]; c.sendall(b'got ' + c.recv(100))\n");
    launch->serve.port = 0;
    world_start(world, launch);
    world_wait_log(world, 1, "listening " ENGINE_SOCKET_PATH " None\n");
    SCOPED(fd_scope) int fd = must_connect(world, 1);
    must_send(fd, "hello\n");
    expect_line(fd, "got hello\n");
    world_assert_end(world, 1, ENGINE_END_SUCCEEDED, 0);
    /* The socket went with the attempt. */
    assert_int_equal(try_connect(world, 1), -1);
    assert_int_equal(errno, ENOENT);
}

static void test_the_folder_of_the_socket_is_the_teams_and_goes_when_forgotten(void **state)
{
    struct world *world = *state;
    struct stat st;
    struct launch *launch = world_script(world, 1, "echo x > ${MUSTER_SOCKET%/*}/left; exit 0");
    launch->serve.on = true;
    world_start(world, launch);
    world_assert_end(world, 1, ENGINE_END_SUCCEEDED, 0);
    SCOPED(mem_scope) char *folder = layout_serve(world->data, 1, NULL);
    SCOPED(mem_scope) char *parent = layout_serve(world->data, 1, "..");
    assert_int_equal(stat(folder, &st), 0);
    assert_int_equal(st.st_uid, geteuid() == 0 ? WORLD_TEAM : geteuid());
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(stat(parent, &st), 0);
    assert_int_equal(st.st_uid, geteuid());
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(engine_forget(world->engine, 1, NULL), 0);
    assert_int_equal(stat(folder, &st), -1);
}

static void test_a_job_that_does_not_serve_has_no_socket(void **state)
{
    struct world *world = *state;
    struct stat st;
    world_run(world, 1, "ls /run/muster/serve; echo [$MUSTER_SOCKET$MUSTER_PORT]");
    world_assert_log(world, 1, "0 o []\n");
    SCOPED(mem_scope) char *folder = layout_serve(world->data, 1, NULL);
    assert_int_equal(stat(folder, &st), -1);
}

static void test_what_is_written_beside_the_socket_counts_as_disk(void **state)
{
    struct world *world = *state;
    struct launch *launch = world_script(
        world, 1, "cd /run/muster/serve; while :; do head -c 1M /dev/zero > $((i=i+1)); done");
    launch->serve.on = true;
    launch->disk_bytes = 8 << 20;
    world_start(world, launch);
    world_assert_end(world, 1, ENGINE_END_DISK_QUOTA, 0);
}

/* ---- The relay --------------------------------------------------------------------------- */

static void test_a_port_is_reached_through_the_socket(void **state)
{
    struct world *world = *state;
    world_start(world, python(world, 1, ECHO));
    world_wait_log(world, 1, "listening");
    ask(world, 1);
    /* A server that comes back reaches it in the same way. */
    world_restart_engine(world);
    ask(world, 1);
}

static void test_a_data_directory_with_a_long_path_works(void **state)
{
    char top[] = "/tmp/muster-long-XXXXXX", parent[220];
    struct error err;
    (void)state;
    assert_non_null(mkdtemp(top));
    snprintf(parent, sizeof parent, "%s/%0180d", top, 0);
    if (file_make_dirs(parent, 0700, &err) < 0)
        fail_msg("%s", err.text);
    struct world *world = world_create_in(parent, NULL);
    world_start(world, python(world, 1, ECHO));
    world_wait_log(world, 1, "listening");
    ask(world, 1);
    world_destroy(world);
    assert_int_equal(file_remove_tree(top, &err), 0);
}

static void test_a_connection_is_closed_at_once_while_nothing_listens(void **state)
{
    struct world *world = *state;
    char text[10];
    struct launch *launch = world_script(world, 1, "echo started; exec sleep 1000");
    launch->serve = (struct launch_serve){.on = true, .port = PORT};
    world_start(world, launch);
    world_wait_log(world, 1, "started");
    for (int i = 0; i < 600; i++) { /* more than it relays at once: none may be kept */
        SCOPED(fd_scope) int fd = must_connect(world, 1);
        assert_int_equal(read_end(fd, text, sizeof text), 0);
    }
}

/* A request that ends with the end of what is written, and an answer that begins only then; larger
 * than all the buffers on the way. The program ends while the end of its answer is on its way. */
static void test_each_direction_ends_by_itself(void **state)
{
    enum { MEGABYTES = 24 };
    struct world *world = *state;
    world_start(
        world, python(world, 1,
                   "import os, socket, hashlib\n"
                   "s = socket.create_server(('127.0.0.1', int(os.environ['MUSTER_PORT'])))\n"
                   "print('listening', flush=True)\n"
                   "c = s.accept()[0]\n"
                   "body = b''.join(iter(lambda: c.recv(1 << 20), b''))\n"
                   "print('read', len(body), hashlib.md5(body).hexdigest(), flush=True)\n"
                   "c.sendall(body[::-1]); c.close()\n"));
    world_wait_log(world, 1, "listening");
    SCOPED(fd_scope) int fd = must_connect(world, 1);
    size_t size = (size_t)MEGABYTES << 20;
    SCOPED(mem_scope) char *sent = mem_alloc(size + 2, 1);
    SCOPED(mem_scope) char *got = mem_alloc(size + 2, 1);
    uint32_t number = 1;
    for (size_t i = 0; i < size; i++) {
        number = number * 1664525 + 1013904223;
        sent[i] = (char)(number >> 24);
    }
    struct error err;
    if (file_write_all(fd, sent, size, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    assert_int_equal(read_end(fd, got, size + 2), size);
    for (size_t i = 0; i < size; i++) {
        if (sent[i] != got[size - 1 - i])
            fail_msg("byte %zu was changed on the way", i);
    }
    world_assert_end(world, 1, ENGINE_END_SUCCEEDED, 0);
}

/* A client that does not take its answer does not keep the attempt from ending, and what the
 * program left running has no part in it. */
static void test_the_last_answer_is_waited_for_only_so_long(void **state)
{
    struct world *world = *state;
    world_start(
        world, python(world, 1,
                   "import os, socket\n"
                   "s = socket.create_server(('127.0.0.1', int(os.environ['MUSTER_PORT'])))\n"
                   "print('listening', flush=True)\n"
                   "c = s.accept()[0]\n"
                   "if os.fork():\n"
                   "    print('asked', c.recv(100), flush=True)\n"
                   "else:\n"
                   "    while True: c.sendall(b'x' * 65536)\n"));
    world_wait_log(world, 1, "listening");
    SCOPED(fd_scope) int fd = must_connect(world, 1);
    must_send(fd, "hello\n");
    world_assert_end(world, 1, ENGINE_END_SUCCEEDED, 0);
}

/* A program that reads nothing holds up whoever writes to it: what is on the way is bounded by the
 * buffers of the sockets and the relay's own. */
static void test_a_program_that_does_not_read_holds_up_the_writer(void **state)
{
    enum { MOST = 64 << 20 };
    static char block[1 << 16];
    struct world *world = *state;
    world_start(
        world, python(world, 1,
                   "import os, socket, time\n"
                   "s = socket.create_server(('127.0.0.1', int(os.environ['MUSTER_PORT'])))\n"
                   "print('listening', flush=True)\n"
                   "c = s.accept()[0]\n"
                   "while True: time.sleep(1000)\n"));
    world_wait_log(world, 1, "listening");
    SCOPED(fd_scope) int fd = must_connect(world, 1);
    struct pollfd writable = {.fd = fd, .events = POLLOUT};
    size_t sent = 0;
    while (sent < MOST && poll(&writable, 1, 1000) == 1) {
        ssize_t n = send(fd, block, sizeof block, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0)
            sent += (size_t)n;
    }
    assert_true(sent > 0 && sent < MOST);
    /* The relay is not held up for others: this one waits in the program's queue. */
    SCOPED(fd_scope) int other = must_connect(world, 1);
    must_send(other, "hello\n");
}

static void test_a_client_that_goes_is_told_to_the_program(void **state)
{
    struct world *world = *state;
    world_start(
        world, python(world, 1,
                   "import os, socket\n"
                   "s = socket.create_server(('127.0.0.1', int(os.environ['MUSTER_PORT'])))\n"
                   "print('listening', flush=True)\n"
                   "c = s.accept()[0]\n"
                   "print('asked', c.recv(100), flush=True)\n"
                   "while True:\n"
                   "    try: c.sendall(b'x' * 1000)\n"
                   "    except OSError: print('nobody there', flush=True); break\n"));
    world_wait_log(world, 1, "listening");
    int fd = must_connect(world, 1);
    must_send(fd, "hello");
    world_wait_log(world, 1, "asked");
    close(fd);
    world_wait_log(world, 1, "nobody there");
    world_assert_end(world, 1, ENGINE_END_SUCCEEDED, 0);
}

static void test_connections_are_bounded_and_the_others_wait(void **state)
{
    enum { CLIENTS = 300 };
    struct world *world = *state;
    int fds[CLIENTS];
    struct pollfd others[CLIENTS - RELAY_CONNECTIONS_MAX];
    world_start(world, python(world, 1,
                           "import os, socketserver, threading\n"
                           "lock = threading.Lock(); begun = 0\n"
                           "class Count(socketserver.StreamRequestHandler):\n"
                           "    def handle(self):\n"
                           "        global begun\n"
                           "        with lock: begun += 1; print('begun', begun, flush=True)\n"
                           "        for line in self.rfile: self.wfile.write(b'got ' + line)\n"
                           "class Server(socketserver.ThreadingTCPServer):\n"
                           "    daemon_threads = True; request_queue_size = 1000\n"
                           "server = Server(('127.0.0.1', 8080), Count)\n"
                           "print('listening', flush=True)\n"
                           "server.serve_forever()\n"));
    world_wait_log(world, 1, "listening");
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = must_connect(world, 1);
        must_send(fds[i], "hello\n");
    }
    assert_int_equal(RELAY_CONNECTIONS_MAX, 256);
    /* They are taken in the order in which they came; nobody else is while these stay. */
    for (int i = 0; i < RELAY_CONNECTIONS_MAX; i++) {
        expect_line(fds[i], "got hello\n");
        must_send(fds[i], "again\n");
        expect_line(fds[i], "got again\n");
    }
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        others[i] = (struct pollfd){.fd = fds[RELAY_CONNECTIONS_MAX + i], .events = POLLIN};
    assert_int_equal(poll(others, ARRAY_LEN(others), 0), 0);
    SCOPED(mem_scope) char *log = world_log(world, 1);
    assert_null(strstr(log, "begun 257\n"));
    for (int i = 0; i < CLIENTS; i++) {
        if (i >= RELAY_CONNECTIONS_MAX)
            expect_line(fds[i], "got hello\n");
        close(fds[i]);
    }
    world_wait_log(world, 1, "begun 300\n");
}

static void test_a_program_that_dies_ends_its_connections(void **state)
{
    struct world *world = *state;
    char text[10];
    struct launch *launch = world_script(world, 1,
        "python3 -c \"$SERVER\" & server=$!; read line < /tmp/go; kill -9 $server; "
        "echo killed; exec sleep 1000");
    const struct launch_variable server = {"SERVER", ECHO "# the server\n"};
    SCOPED(strbuf_finish) struct strbuf script = {0};
    strbuf_printf(&script, "mkfifo /tmp/go; %s", launch->argv[2]);
    launch = world_script(world, 1, strbuf_text(&script));
    launch->serve = (struct launch_serve){.on = true, .port = PORT};
    launch->variables = &server;
    launch->variable_count = 1;
    world_start(world, launch);
    world_wait_log(world, 1, "listening");
    SCOPED(fd_scope) int fd = must_connect(world, 1);
    must_send(fd, "hello\n");
    expect_line(fd, "got hello\n");
    SCOPED(mem_scope) char *go = layout_attempt(world->data, 1, 1, "tmp/go");
    SCOPED(fd_scope) int go_fd = open(go, O_WRONLY | O_CLOEXEC);
    assert_int_equal(write(go_fd, "\n", 1), 1);
    world_wait_log(world, 1, "killed");
    assert_int_equal(read_end(fd, text, sizeof text), 0);
    /* Nothing listens any more: the next one is closed at once. */
    SCOPED(fd_scope) int next = must_connect(world, 1);
    assert_int_equal(read_end(next, text, sizeof text), 0);
}

static void test_an_attempt_that_is_killed_ends_its_connections(void **state)
{
    struct world *world = *state;
    char text[10];
    world_start(world, python(world, 1, ECHO));
    world_wait_log(world, 1, "listening");
    SCOPED(fd_scope) int fd = must_connect(world, 1);
    must_send(fd, "hello\n");
    expect_line(fd, "got hello\n");
    assert_int_equal(engine_kill(world->engine, 1, NULL), 0);
    world_assert_end(world, 1, ENGINE_END_KILLED, 0);
    assert_int_equal(read_end(fd, text, sizeof text), 0);
    assert_int_equal(try_connect(world, 1), -1);
}

static void test_a_relay_that_the_job_kills_is_started_again(void **state)
{
    struct world *world = *state;
    struct launch *launch = python(world, 1,
        "import os\n"
        "def relays():\n"
        "    found = []\n"
        "    for pid in filter(str.isdigit, os.listdir('/proc')):\n"
        "        try: name = open(f'/proc/{pid}/comm').read()\n"
        "        except OSError: continue\n"
        "        if name == 'muster-relay\\n': found.append(int(pid))\n"
        "    return found\n"
        "for i in range(3):\n"
        "    while not (before := relays()): pass\n"
        "    os.kill(before[0], 9)\n"
        "    while set(relays()) <= set(before): pass\n"
        "print('killed thrice', flush=True)\n" ECHO);
    world_start(world, launch);
    world_wait_log(world, 1, "killed thrice");
    world_wait_log(world, 1, "listening");
    ask(world, 1);
    assert_int_equal(world_count(world, ENGINE_REPORT_ENDED, 1), 0);
}

/* The relay has init's memory, where the secrets of all ranks are. */
static void test_the_relay_cannot_be_read_by_the_job(void **state)
{
    struct world *world = *state;
    world_start(
        world, python(world, 1,
                   "import os, ctypes\n"
                   "libc = ctypes.CDLL(None, use_errno=True)\n"
                   "pids = [int(p) for p in os.listdir('/proc') if p.isdigit()]\n"
                   "others = [p for p in pids if p not in (1, os.getpid())]\n"
                   "print('others', len(others))\n"
                   "for p in others:\n"
                   "    print(libc.ptrace(16, p, 0, 0), ctypes.get_errno())\n"
                   "    for name in ('mem', 'environ', 'maps'):\n"
                   "        try: open(f'/proc/{p}/{name}', 'rb').read(1); print('read', name)\n"
                   "        except OSError: pass\n"
                   "    try: print('descriptors', os.listdir(f'/proc/{p}/fd'))\n"
                   "    except OSError: pass\n"));
    world_assert_end(world, 1, ENGINE_END_SUCCEEDED, 0);
    SCOPED(mem_scope) char *log = world_log(world, 1);
    assert_string_equal(log, "0 o others 1\n0 o -1 1\n");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_set_up, world_tear_down)

static int run_suite(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_replica_listens_at_its_socket),
        TEST(test_the_folder_of_the_socket_is_the_teams_and_goes_when_forgotten),
        TEST(test_a_job_that_does_not_serve_has_no_socket),
        TEST(test_what_is_written_beside_the_socket_counts_as_disk),
        TEST(test_a_port_is_reached_through_the_socket),
        cmocka_unit_test(test_a_data_directory_with_a_long_path_works),
        TEST(test_a_connection_is_closed_at_once_while_nothing_listens),
        TEST(test_each_direction_ends_by_itself),
        TEST(test_the_last_answer_is_waited_for_only_so_long),
        TEST(test_a_program_that_does_not_read_holds_up_the_writer),
        TEST(test_a_client_that_goes_is_told_to_the_program),
        TEST(test_connections_are_bounded_and_the_others_wait),
        TEST(test_a_program_that_dies_ends_its_connections),
        TEST(test_an_attempt_that_is_killed_ends_its_connections),
        TEST(test_a_relay_that_the_job_kills_is_started_again),
        TEST(test_the_relay_cannot_be_read_by_the_job),
    };
    return cmocka_run_group_tests_name("replicas", tests, NULL, NULL);
}

int main(int argc, char **argv)
{
    return world_main(argc, argv, run_suite);
}
