/*
 * What a program sees of being held up in the middle of a system call.
 *
 *   freezing LEAF HOW    HOW: freeze     by cgroup.freeze
 *                             stop       by SIGSTOP and SIGCONT, as job control does
 *                             throttle   by a memory.high below what it has
 *
 * For each system call a child enters LEAF and makes it; while it waits, or is in the middle of its work, it is held
 * up for a while and let go; then what it waits for comes. One line each: its name and what it returned: `whole`,
 * `short N` or the errno's name.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/futex.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define MIB (1L << 20)
#define BIG (256 * MIB)

static int ends[2];	/* what the child waits at, and where the parent makes it come */
static char *memory;	/* BIG bytes, shared */
static char file[64];	/* a file of 64 MiB */

static void must(long result, const char *what)
{
	if (result < 0) {
		fprintf(stderr, "freezing: %s: %s\n", what, strerror(errno));
		exit(3);
	}
}

static void put(const char *leaf, const char *name, const char *text)
{
	char path[512];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", leaf, name);
	fd = open(path, O_WRONLY | O_NONBLOCK);
	must(fd, path);
	must(write(fd, text, strlen(text)), path);
	close(fd);
}

static void pause_ms(int ms)
{
	struct timespec time = { ms / 1000, ms % 1000 * 1000000L };

	while (nanosleep(&time, &time) && errno == EINTR)
		;
}

/* Where the child waits: pipes, sockets, a terminal. */
static void make_pipe(void) { must(pipe(ends), "pipe"); }
static void make_sockets(void) { must(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), "socketpair"); }
static void make_tty(void) { must(openpty(&ends[1], &ends[0], NULL, NULL, NULL), "openpty"); }
static void make_event(void) { must(ends[0] = ends[1] = eventfd(0, 0), "eventfd"); }
static void make_sockets_with_timeout(void)
{
	struct timeval time = { 20, 0 };

	make_sockets();
	must(setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time)), "SO_RCVTIMEO");
}
static void make_inotify(void)
{
	must(ends[0] = inotify_init1(0), "inotify");
	must(inotify_add_watch(ends[0], file, IN_ATTRIB), "inotify watch");
	must(ends[1] = open(file, O_RDWR), file);
}
static void make_semaphore(void) { must(ends[0] = semget(IPC_PRIVATE, 1, 0600), "semget"); }
static void make_lock(void)
{
	must(ends[1] = open(file, O_RDWR), file);
	must(flock(ends[1], LOCK_EX), "flock");
}
static void make_nothing(void) {}

/* What makes it come. */
static void send_hello(void) { must(write(ends[1], "hello, tty\n", 11), "write"); }
static void send_event(void)
{
	unsigned long one = 1;

	must(write(ends[1], &one, 8), "write");
}
static void drain(void)
{
	static char sink[65536];

	close(ends[1]);
	while (read(ends[0], sink, sizeof(sink)) > 0)
		;
}
static void touch(void) { must(fchmod(ends[1], 0640), "fchmod"); }
static void post(void)
{
	struct sembuf up = { 0, 1, 0 };

	must(semop(ends[0], &up, 1), "semop");
}
static void wake(void)
{
	*(volatile int *)memory = 1;
	syscall(SYS_futex, memory, FUTEX_WAKE, 1, NULL, NULL, 0);
}
static void let_go(void) { must(flock(ends[1], LOCK_UN), "flock"); }
static void nothing(void) {}

/* The system calls. Each gives its result; `whole` is what it gives undisturbed. */
static long read_it(void) { return read(ends[0], memory, 64); }
static long write_much(void) { return write(ends[1], memory, MIB); }
static long send_much(void) { return send(ends[1], memory, MIB * 4, 0); }
static long receive(void) { return recv(ends[0], memory, 64, 0); }
static long receive_all(void) { return recv(ends[0], memory, 22, MSG_WAITALL); }
static long sleep_1s(void)
{
	struct timespec time = { 1, 0 };

	return nanosleep(&time, &time);
}
static long poll_it(void)
{
	struct pollfd fd = { ends[0], POLLIN, 0 };

	return poll(&fd, 1, 20000);
}
static long select_it(void)
{
	fd_set set;

	FD_ZERO(&set);
	FD_SET(ends[0], &set);
	return select(ends[0] + 1, &set, NULL, NULL, NULL);
}
static long epoll_it(void)
{
	struct epoll_event event = { EPOLLIN, { 0 } };
	int fd = epoll_create1(0);

	must(epoll_ctl(fd, EPOLL_CTL_ADD, ends[0], &event), "epoll_ctl");
	return epoll_wait(fd, &event, 1, 20000);
}
static long take_semaphore(void)
{
	struct sembuf down = { 0, -1, 0 };

	return semop(ends[0], &down, 1);
}
static long wait_futex(void)
{
	struct timespec time = { 20, 0 };

	return syscall(SYS_futex, memory, FUTEX_WAIT, 0, &time, NULL, 0);
}
static long take_lock(void) { return flock(open(file, O_RDWR), LOCK_EX); }
static long wait_child(void)
{
	pid_t pid = fork();

	if (!pid) {
		pause_ms(800);
		_exit(0);
	}
	return waitpid(pid, NULL, 0) == pid ? 1 : -1;
}
static long wait_signal(void)
{
	sigset_t set;
	struct timespec time = { 1, 0 };

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	/* Undisturbed: EAGAIN after a second. */
	return sigtimedwait(&set, NULL, &time) < 0 && errno == EAGAIN ? 1 : -1;
}
static long wait_aio(void)
{
	aio_context_t context = 0;
	struct io_event event;
	struct timespec time = { 1, 0 };

	must(syscall(SYS_io_setup, 1, &context), "io_setup");
	return syscall(SYS_io_getevents, context, 1, 1, &event, &time);
}
static long read_timer(void)
{
	struct itimerspec time = { { 0, 0 }, { 1, 0 } };
	int fd = timerfd_create(CLOCK_MONOTONIC, 0);

	must(timerfd_settime(fd, 0, &time, NULL), "timerfd");
	return read(fd, memory, 8);
}
static long read_zeros(void) { return read(open("/dev/zero", O_RDONLY), memory, BIG); }
static long read_random(void) { return read(open("/dev/urandom", O_RDONLY), memory, BIG / 4); }
static long get_random(void) { return getrandom(memory, BIG / 4, 0); }
static long read_file(void)
{
	long sum = 0;
	int fd = open(file, O_RDONLY);

	for (int i = 0; i < 16 && sum == i * 64 * MIB; i++)
		sum += pread(fd, memory, 64 * MIB, 0);
	return sum;
}
static long write_file(void)
{
	long sum = 0;
	int fd = open(file, O_RDWR);

	for (int i = 0; i < 16 && sum == i * 64 * MIB; i++)
		sum += pwrite(fd, memory, 64 * MIB, 0);
	return sum;
}
static long send_file(void) { return sendfile(ends[1], open(file, O_RDONLY), NULL, 4 * MIB); }
static long touch_memory(void)
{
	char *own = mmap(NULL, BIG, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	for (long at = 0; at < BIG; at += 4096)
		own[at] = 1;
	return BIG;
}

static const struct probe {
	const char *name;
	void (*make)(void);
	long (*run)(void);
	void (*then)(void);
	long whole;
	int before;	/* ms between its start and the freeze */
} probes[] = {
	{ "read from a pipe", make_pipe, read_it, send_hello, 11, 200 },
	{ "read from a terminal", make_tty, read_it, send_hello, 11, 200 },
	{ "read from an eventfd", make_event, read_it, send_event, 8, 200 },
	{ "read from a timerfd", make_nothing, read_timer, nothing, 8, 200 },
	{ "read from an inotify", make_inotify, read_it, touch, 16, 200 },
	{ "recv from a socket", make_sockets, receive, send_hello, 11, 200 },
	{ "nanosleep", make_nothing, sleep_1s, nothing, 0, 200 },
	{ "poll", make_pipe, poll_it, send_hello, 1, 200 },
	{ "select", make_pipe, select_it, send_hello, 1, 200 },
	{ "futex wait", make_nothing, wait_futex, wake, 0, 200 },
	{ "flock", make_lock, take_lock, let_go, 0, 200 },
	{ "waitpid", make_nothing, wait_child, nothing, 1, 200 },
	{ "read of a file", make_nothing, read_file, nothing, 1024 * MIB, 30 },
	{ "write of a file", make_nothing, write_file, nothing, 1024 * MIB, 30 },
	{ "page faults", make_nothing, touch_memory, nothing, BIG, 30 },
	{ "epoll_wait", make_pipe, epoll_it, send_hello, 1, 200 },
	{ "semop", make_semaphore, take_semaphore, post, 0, 200 },
	{ "sigtimedwait", make_nothing, wait_signal, nothing, 1, 200 },
	{ "io_getevents", make_nothing, wait_aio, nothing, 0, 200 },
	{ "recv with SO_RCVTIMEO", make_sockets_with_timeout, receive, send_hello, 11, 200 },
	{ "write of 1 MiB to a pipe", make_pipe, write_much, drain, MIB, 200 },
	{ "send of 4 MiB to a socket", make_sockets, send_much, drain, 4 * MIB, 200 },
	{ "recv of all, half there", make_sockets, receive_all, send_hello, 22, 200 },
	{ "sendfile of 4 MiB to a socket", make_sockets, send_file, drain, 4 * MIB, 200 },
	{ "read of 256 MiB of /dev/zero", make_nothing, read_zeros, nothing, BIG, 15 },
	{ "read of 64 MiB of /dev/urandom", make_nothing, read_random, nothing, BIG / 4, 30 },
	{ "getrandom of 64 MiB", make_nothing, get_random, nothing, BIG / 4, 30 },
};

struct result {
	long value;
	int error;
	int entered;
};

static void frozen(const char *leaf, int wanted)
{
	char path[512], text[256];

	snprintf(path, sizeof(path), "%s/cgroup.events", leaf);
	for (int i = 0; i < 500; i++) {
		int fd = open(path, O_RDONLY);
		long n = read(fd, text, sizeof(text) - 1);

		close(fd);
		text[n > 0 ? n : 0] = 0;
		if (strstr(text, wanted ? "frozen 1" : "frozen 0"))
			return;
		pause_ms(10);
	}
	fprintf(stderr, "freezing: the leaf is not frozen within 5 s\n");
	exit(3);
}

static void hold_up(const char *leaf, const char *how, pid_t pid)
{
	if (!strcmp(how, "stop")) {
		kill(pid, SIGSTOP);
		pause_ms(200);
		kill(pid, SIGCONT);
	} else if (!strcmp(how, "throttle")) {
		put(leaf, "memory.high", "4096");
		pause_ms(200);
		put(leaf, "memory.high", "max");
	} else {
		put(leaf, "cgroup.freeze", "1");
		frozen(leaf, 1);
		pause_ms(200);
		put(leaf, "cgroup.freeze", "0");
		frozen(leaf, 0);
	}
}

static void try(const struct probe *probe, const char *leaf, const char *how, struct result *result)
{
	pid_t pid;

	memset(result, 0, sizeof(*result));
	memory[0] = memory[1] = memory[2] = memory[3] = 0;
	probe->make();
	if (probe->run == receive_all)
		send_hello();
	pid = fork();
	must(pid, "fork");
	if (!pid) {
		put(leaf, "cgroup.procs", "0");
		result->entered = 1;
		errno = 0;
		result->value = probe->run();
		result->error = errno;
		_exit(0);
	}
	for (int i = 0; i < 1000 && !*(volatile int *)&result->entered; i++)
		pause_ms(2);
	pause_ms(probe->before);
	hold_up(leaf, how, pid);
	pause_ms(200);
	probe->then();
	for (int i = 0; i < 6000; i++) {
		if (waitpid(pid, NULL, WNOHANG) == pid)
			return;
		pause_ms(10);
	}
	result->value = -1;
	result->error = ETIMEDOUT;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

int main(int argc, char **argv)
{
	struct result *result;
	int fd;

	if (argc != 3) {
		fprintf(stderr, "usage: freezing LEAF freeze|stop|throttle\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	memory = mmap(NULL, BIG, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	result = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED || result == MAP_FAILED)
		must(-1, "mmap");
	/* Present, so that what takes time is the system call and not its page faults. */
	memset(memory, 1, BIG);
	strcpy(file, "/dev/shm/freezing-XXXXXX");
	fd = mkstemp(file);
	must(fd, file);
	must(write(fd, memory, 64 * MIB), file);
	for (size_t i = 0; i < sizeof(probes) / sizeof(*probes); i++) {
		const struct probe *probe = &probes[i];

		try(probe, argv[1], argv[2], result);
		if (result->value == probe->whole)
			printf("%s: whole\n", probe->name);
		else if (result->value >= 0)
			printf("%s: short %ld\n", probe->name, result->value);
		else
			printf("%s: %s\n", probe->name, strerrorname_np(result->error));
		fflush(stdout);
	}
	unlink(file);
	return 0;
}
