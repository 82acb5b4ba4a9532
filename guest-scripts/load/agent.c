// SPDX-License-Identifier: GPL-2.0-only
/*
 * agent PORT: runs commands for the host, which asks for them over PORT: the
 * path of a virtio-serial port, or the number of an open descriptor. It ends
 * when the host asks for it or goes; its commands are killed then.
 *
 * It is to answer while everything else starves: its memory is there and
 * locked before it says hello, nothing is allocated afterwards, the OOM killer
 * passes it by, and it runs before every ordinary task. What the kernel needs
 * for a new process may be missing: that is an answer (FAILED), not an end. So
 * that a process takes as little as can be, it is made with vfork(): until it
 * has executed its program, which takes no more than its file's first page,
 * the agent waits.
 *
 * Frames, both ways; numbers are little-endian (harness/guest/agent.py is the
 * other side):
 *
 *	u32 length of the payload, at most 32 KiB; u8 kind; u32 command; payload
 *
 * from the host
 *	R	run: u32 flags (1: it has an input; 2: on a terminal of its own),
 *		i32 oom_score_adj, u16 rows, u16 columns, u32 credit of each
 *		output, u16 words, u16 assignments; then as many strings, each
 *		with its NUL: directory, words, assignments NAME=VALUE that are
 *		added to the agent's environment
 *	I	input; an empty one ends it
 *	C	credit: u8 stream (1 or 2), u32 more bytes that may be sent of it
 *	K	kill: u32 signal, to the command's process group
 *	W	window: u16 rows, u16 columns of its terminal
 *	Z	drop: kill the group, close what it is connected to
 *	P	ping: is answered with a P of the same number
 *	Q	quit; of no command
 * from the guest
 *	H	hello: u32 version, u32 commands at a time, u32 bytes of input that
 *		a command takes before an A; of no command
 *	S	started: u32 pid
 *	F	failed: u32 errno, and in words what failed; the command is over
 *	1, 2	what it said on its standard output, standard error; an empty one
 *		is the end of it. A terminal has only 1.
 *	A	u32 bytes of the input that it has taken
 *	B	it has closed its input: the rest is of no use
 *	X	it has exited: u32 status, u32 signal (0: none)
 *	D	done: it has exited and its outputs have ended; the last of a command
 *	P	it is there
 *	V	what the host broke of this, in words; the agent ends
 *
 * Frames for a command that is over come late and are passed by.
 */
#define _GNU_SOURCE
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define VERSION 1
#define COMMANDS 16
#define HEADER 9
#define PAYLOAD (32 << 10)
#define INPUT (32 << 10)
#define CHUNK (16 << 10)	/* of output, in one frame */
#define PORT_BYTES (16 << 10)	/* in one write: the kernel allocates as much */
#define PORT_BYTES_POOR 1024	/* while it has none */
#define STRINGS 1024
#define SMALL 128	/* more than any frame but of output */
#define RUN_BYTES 20
#define HAS_INPUT 1
#define ON_TERMINAL 2
#define PAUSE_MS 20
#define STACK (64 << 10)

struct command {
	unsigned int id;		/* 0: nobody's */
	pid_t pid;
	int in;			/* -1 where closed, as the following */
	int out[2];
	bool terminal;
	unsigned int credit[2];
	unsigned int from, held;	/* the ring of its input */
	unsigned int taken;		/* and not yet said so */
	bool input_ends;
	bool broken;		/* B is to be said */
	bool ended[2];		/* the end of an output is to be said */
	bool exited, said_exit;
	unsigned int status, signal;
	char input[INPUT];
};

static struct command commands[COMMANDS];
static char incoming[HEADER + PAYLOAD];
static unsigned int came;
static char outgoing[64 << 10];
static unsigned int out_from, out_to;
static char *strings[STRINGS + 2];
static char *environment[2 * STRINGS + 2];
static struct pollfd polled[2 + 3 * COMMANDS];
static int port = -1;
static bool port_is_device;
static bool met;	/* the host has said something */
static bool poor;	/* the kernel had no memory for a write */
static bool quits;
static struct {			/* why a command did not start; its process says it, too */
	int error;		/* 0: it did */
	const char *what;
} failed;

static unsigned int get32(const char *at)
{
	unsigned int value;

	memcpy(&value, at, sizeof(value));
	return le32toh(value);
}

static unsigned short get16(const char *at)
{
	unsigned short value;

	memcpy(&value, at, sizeof(value));
	return le16toh(value);
}

static void put32(char *at, unsigned int value)
{
	value = htole32(value);
	memcpy(at, &value, sizeof(value));
}

/* Bytes that can be added behind what is to go out. */
static unsigned int room(void)
{
	if (out_from && sizeof(outgoing) - out_to < CHUNK) {
		memmove(outgoing, outgoing + out_from, out_to - out_from);
		out_to -= out_from;
		out_from = 0;
	}
	return sizeof(outgoing) - out_to;
}

static void header(char kind, unsigned int id, unsigned int length)
{
	put32(outgoing + out_to, length);
	outgoing[out_to + 4] = kind;
	put32(outgoing + out_to + 5, id);
	out_to += HEADER;
}

/* Who calls it has seen that there is room. */
static void say(char kind, unsigned int id, int numbers, unsigned int first, unsigned int second,
		unsigned int third)
{
	const unsigned int values[] = { first, second, third };
	int i;

	header(kind, id, 4 * numbers);
	for (i = 0; i < numbers; i++, out_to += 4)
		put32(outgoing + out_to, values[i]);
}

static void say_failed(unsigned int id, int error, const char *what)
{
	unsigned int length = strlen(what);

	header('F', id, 4 + length);
	put32(outgoing + out_to, error);
	memcpy(outgoing + out_to + 4, what, length);
	out_to += 4 + length;
}

static void violated(const char *what)
{
	if (room() >= SMALL) {
		header('V', 0, strlen(what));
		memcpy(outgoing + out_to, what, strlen(what));
		out_to += strlen(what);
	}
	quits = true;
}

static void close_one(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static struct command *command_of(unsigned int id)
{
	int i;

	for (i = 0; i < COMMANDS; i++)
		if (commands[i].id == id)
			return &commands[i];
	return NULL;
}

/* Both ends do not survive exec, and ours does not block. */
static int make_pipe(int ends[2], int ours)
{
	if (pipe2(ends, O_CLOEXEC))
		return -1;
	return fcntl(ends[ours], F_SETFL, O_NONBLOCK);
}

static int open_terminal(struct command *cmd, int theirs[3], const struct winsize *size)
{
	char name[32];
	int number, unlock = 0;

	cmd->out[0] = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	if (cmd->out[0] < 0 || ioctl(cmd->out[0], TIOCSPTLCK, &unlock) ||
	    ioctl(cmd->out[0], TIOCGPTN, &number))
		return -1;
	snprintf(name, sizeof(name), "/dev/pts/%d", number);
	theirs[0] = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (theirs[0] < 0)
		return -1;
	ioctl(theirs[0], TIOCSWINSZ, size);
	cmd->in = fcntl(cmd->out[0], F_DUPFD_CLOEXEC, 0);
	theirs[1] = fcntl(theirs[0], F_DUPFD_CLOEXEC, 0);
	theirs[2] = fcntl(theirs[0], F_DUPFD_CLOEXEC, 0);
	return cmd->in < 0 || theirs[1] < 0 || theirs[2] < 0 ? -1 : 0;
}

static int open_pipes(struct command *cmd, int theirs[3], bool has_input)
{
	int ends[2], i;

	if (has_input) {
		if (make_pipe(ends, 1))
			return -1;
		theirs[0] = ends[0];
		cmd->in = ends[1];
	} else {
		theirs[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
		if (theirs[0] < 0)
			return -1;
	}
	for (i = 0; i < 2; i++) {
		if (make_pipe(ends, 0))
			return -1;
		cmd->out[i] = ends[0];
		theirs[1 + i] = ends[1];
	}
	return 0;
}

/*
 * In the new process, which has the agent's memory until it executes its own
 * program: it changes none of it but what it says of a failure.
 */
static void become(const struct command *cmd, const int theirs[3], int score, char **words,
		   const char *directory)
{
	char text[16];
	sigset_t none;
	int fd, i;

	failed.what = "setsid";
	if (setsid() < 0)
		return;
	failed.what = "dup2";
	for (i = 0; i < 3; i++)
		if (dup2(theirs[i], i) < 0)
			return;
	failed.what = "TIOCSCTTY";
	if (cmd->terminal && ioctl(0, TIOCSCTTY, 0))
		return;
	failed.what = "oom_score_adj";
	i = snprintf(text, sizeof(text), "%d", score);
	fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, text, i) < 0)
		return;
	failed.what = "chdir";
	if (*directory && chdir(directory))
		return;
	/* Who started the agent may have ignored some. */
	for (i = 1; i < NSIG; i++)
		signal(i, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	failed.what = "exec";
	execvpe(words[0], words, environment);
}

static bool is_assigned(const char *one, char **assignments, int count)
{
	size_t name = strcspn(one, "=") + 1;
	int i;

	for (i = 0; i < count; i++)
		if (!strncmp(one, assignments[i], name))
			return true;
	return false;
}

/* The agent's own, and what the host has added. */
static void make_environment(char **assignments, int count)
{
	char **one;
	int n = 0;

	for (; n < count; n++)
		environment[n] = assignments[n];
	for (one = environ; *one && n < 2 * STRINGS; one++)
		if (!is_assigned(*one, assignments, count))
			environment[n++] = *one;
	environment[n] = NULL;
}

static void fork_and_exec(struct command *cmd, const int theirs[3], int score)
{
	failed.what = "fork";
	cmd->pid = vfork();
	if (!cmd->pid) {
		become(cmd, theirs, score, strings + 1, strings[0]);
		failed.error = errno;
		_exit(127);
	}
	if (cmd->pid < 0)
		failed.error = errno;
	else if (failed.error)
		waitpid(cmd->pid, NULL, 0);
}

static void start(struct command *cmd, const char *head, int words, int assignments)
{
	const struct winsize size = { .ws_row = get16(head + 8), .ws_col = get16(head + 10) };
	unsigned int flags = get32(head);
	int theirs[3] = { -1, -1, -1 };
	int i;

	cmd->in = -1;
	cmd->out[0] = -1;
	cmd->out[1] = -1;
	cmd->credit[0] = get32(head + 12);
	cmd->credit[1] = get32(head + 12);
	cmd->terminal = flags & ON_TERMINAL;
	failed.error = 0;
	failed.what = cmd->terminal ? "terminal" : "pipe";
	if (cmd->terminal ? open_terminal(cmd, theirs, &size) :
			    open_pipes(cmd, theirs, flags & HAS_INPUT)) {
		failed.error = errno;
	} else {
		make_environment(strings + 1 + words, assignments);
		strings[1 + words] = NULL;
		fork_and_exec(cmd, theirs, get32(head + 4));
	}
	for (i = 0; i < 3; i++)
		close_one(&theirs[i]);
	if (!failed.error) {
		say('S', cmd->id, 1, cmd->pid, 0, 0);
		return;
	}
	close_one(&cmd->in);
	close_one(&cmd->out[0]);
	close_one(&cmd->out[1]);
	say_failed(cmd->id, failed.error, failed.what);
	cmd->id = 0;
}

static void run(unsigned int id, char *payload, unsigned int length)
{
	struct command *cmd;
	unsigned int at = RUN_BYTES;
	int words, assignments, count = 0;

	if (!id || command_of(id)) {
		violated("R for a command that there is");
		return;
	}
	if (length < at) {
		violated("R that is too short");
		return;
	}
	words = get16(payload + 16);
	assignments = get16(payload + 18);
	if (!words || words + assignments > STRINGS) {
		say_failed(id, E2BIG, "words");
		return;
	}
	for (; at < length && count < 1 + words + assignments; count++) {
		char *end = memchr(payload + at, 0, length - at);

		if (!end)
			break;
		strings[count] = payload + at;
		at = end - payload + 1;
	}
	if (at != length || count != 1 + words + assignments) {
		violated("R whose strings are not as many as it says");
		return;
	}
	cmd = command_of(0);
	if (!cmd) {
		say_failed(id, EAGAIN, "commands");
		return;
	}
	memset(cmd, 0, offsetof(struct command, input));
	cmd->id = id;
	start(cmd, payload, words, assignments);
}

static void take_input(struct command *cmd, const char *payload, unsigned int length)
{
	unsigned int at, piece;

	if (cmd->in < 0)
		return;
	if (!length) {
		cmd->input_ends = true;
		return;
	}
	if (length > INPUT - cmd->held - cmd->taken || cmd->input_ends) {
		violated("I beyond what was taken, or behind its end");
		return;
	}
	at = (cmd->from + cmd->held) % INPUT;
	piece = length < INPUT - at ? length : INPUT - at;
	memcpy(cmd->input + at, payload, piece);
	memcpy(cmd->input, payload + piece, length - piece);
	cmd->held += length;
}

/* The group's number is nobody else's: its leader is not reaped before D. */
static void kill_group(const struct command *cmd, int number)
{
	if (cmd->pid > 0)
		kill(-cmd->pid, number);
}

static void drop(struct command *cmd)
{
	kill_group(cmd, SIGKILL);
	close_one(&cmd->in);
	close_one(&cmd->out[0]);
	close_one(&cmd->out[1]);
}

static void add_credit(struct command *cmd, const char *payload)
{
	unsigned int *credit = &cmd->credit[payload[0] == 2], more = get32(payload + 1);

	*credit = more > UINT_MAX - *credit ? UINT_MAX : *credit + more;
}

static void resize(const struct command *cmd, const char *payload)
{
	const struct winsize size = { .ws_row = get16(payload), .ws_col = get16(payload + 2) };

	if (cmd->terminal && cmd->out[0] >= 0)
		ioctl(cmd->out[0], TIOCSWINSZ, &size);
}

/* Of the payload, for kinds whose is always as long; -1 for others. */
static int fixed_length(char kind)
{
	switch (kind) {
	case 'C':
		return 5;
	case 'K':
	case 'W':
		return 4;
	case 'P':
	case 'Q':
	case 'Z':
		return 0;
	default:
		return -1;
	}
}

static void take_frame(char kind, unsigned int id, char *payload, unsigned int length)
{
	struct command *cmd = id ? command_of(id) : NULL;
	int fixed = fixed_length(kind);

	if (fixed >= 0 && length != (unsigned int)fixed)
		violated("a frame of a wrong length");
	else if (fixed < 0 && kind != 'R' && kind != 'I')
		violated("a frame of an unknown kind");
	else if (kind == 'R')
		run(id, payload, length);
	else if (kind == 'Q')
		quits = true;
	else if (kind == 'P')
		say('P', id, 0, 0, 0, 0);
	else if (!cmd)
		return;
	else if (kind == 'I')
		take_input(cmd, payload, length);
	else if (kind == 'C')
		add_credit(cmd, payload);
	else if (kind == 'K')
		kill_group(cmd, get32(payload));
	else if (kind == 'W')
		resize(cmd, payload);
	else
		drop(cmd);
}

/* The frames that are whole, as long as there is room for what they are answered. */
static void take_frames(void)
{
	unsigned int at = 0, length;

	while (!quits && came - at >= HEADER && room() >= SMALL) {
		length = get32(incoming + at);
		if (length > PAYLOAD) {
			violated("a frame that is too long");
			break;
		}
		if (came - at < HEADER + length)
			break;
		take_frame(incoming[at + 4], get32(incoming + at + 5), incoming + at + HEADER,
			   length);
		at += HEADER + length;
	}
	memmove(incoming, incoming + at, came - at);
	came -= at;
}

static void pause_ms(long ms)
{
	const struct timespec pause = { .tv_nsec = ms * 1000000L };

	nanosleep(&pause, NULL);
}

static void read_port(void)
{
	ssize_t got;

	if (came == sizeof(incoming))
		return;
	got = read(port, incoming + came, sizeof(incoming) - came);
	if (got > 0) {
		met = true;
		came += got;
	} else if (!got || (errno != EAGAIN && errno != EINTR)) {
		/* A port of virtio has no data before the host has opened its end. */
		if (met || !port_is_device)
			quits = true;
		else
			pause_ms(PAUSE_MS);
	}
}

static void write_port(void)
{
	unsigned int most = poor ? PORT_BYTES_POOR : PORT_BYTES, left = out_to - out_from;
	ssize_t put;

	put = write(port, outgoing + out_from, left < most ? left : most);
	if (put > 0) {
		poor = false;
		out_from += put;
		if (out_from == out_to) {
			out_from = 0;
			out_to = 0;
		}
	} else if (put < 0 && errno == ENOMEM) {
		poor = true;
		pause_ms(PAUSE_MS);
	} else if (put < 0 && errno != EAGAIN && errno != EINTR) {
		quits = true;
	}
}

static void feed(struct command *cmd)
{
	unsigned int piece = cmd->held < INPUT - cmd->from ? cmd->held : INPUT - cmd->from;
	ssize_t put = write(cmd->in, cmd->input + cmd->from, piece);

	if (put > 0) {
		cmd->from = (cmd->from + put) % INPUT;
		cmd->held -= put;
		cmd->taken += put;
	} else if (put < 0 && errno != EAGAIN && errno != EINTR && errno != ENOMEM) {
		cmd->broken = true;
		close_one(&cmd->in);
	}
}

static void drain(struct command *cmd, int which)
{
	unsigned int most = room();
	ssize_t got;

	if (most < SMALL + HEADER + 1)
		return;
	most -= SMALL + HEADER;
	if (most > CHUNK)
		most = CHUNK;
	if (most > cmd->credit[which])
		most = cmd->credit[which];
	got = read(cmd->out[which], outgoing + out_to + HEADER, most);
	if (got > 0) {
		header(which ? '2' : '1', cmd->id, got);
		out_to += got;
		cmd->credit[which] -= got;
	} else if (!got || (errno != EAGAIN && errno != EINTR && errno != ENOMEM)) {
		/* A terminal that nobody has open any more says EIO. */
		close_one(&cmd->out[which]);
		cmd->ended[which] = true;
	}
}

/* Says what there is to be said of a command. */
static void settle(struct command *cmd)
{
	int i;

	if (cmd->in >= 0 && cmd->input_ends && !cmd->held)
		close_one(&cmd->in);
	if (cmd->taken && (!cmd->held || cmd->taken >= INPUT / 4) && room() >= SMALL) {
		say('A', cmd->id, 1, cmd->taken, 0, 0);
		cmd->taken = 0;
	}
	if (cmd->broken && room() >= SMALL) {
		say('B', cmd->id, 0, 0, 0, 0);
		cmd->broken = false;
	}
	for (i = 0; i < 2; i++) {
		if (cmd->ended[i] && room() >= SMALL) {
			header('1' + i, cmd->id, 0);
			cmd->ended[i] = false;
		}
	}
	if (cmd->exited && !cmd->said_exit && room() >= SMALL) {
		say('X', cmd->id, 2, cmd->status, cmd->signal, 0);
		cmd->said_exit = true;
	}
	if (cmd->said_exit && cmd->out[0] < 0 && cmd->out[1] < 0 && !cmd->ended[0] &&
	    !cmd->ended[1] && room() >= SMALL) {
		waitpid(cmd->pid, NULL, 0);
		close_one(&cmd->in);
		say('D', cmd->id, 0, 0, 0, 0);
		cmd->id = 0;
	}
}

static void look_for_exits(int signals)
{
	struct signalfd_siginfo info;
	siginfo_t found;
	int i;

	while (read(signals, &info, sizeof(info)) > 0)
		;
	for (i = 0; i < COMMANDS; i++) {
		struct command *cmd = &commands[i];

		if (!cmd->id || cmd->exited)
			continue;
		found.si_pid = 0;
		if (waitid(P_PID, cmd->pid, &found, WEXITED | WNOHANG | WNOWAIT) || !found.si_pid)
			continue;
		cmd->exited = true;
		if (found.si_code == CLD_EXITED)
			cmd->status = found.si_status;
		else
			cmd->signal = found.si_status;
	}
}

static struct pollfd *ask(struct pollfd *at, int fd, short events)
{
	at->fd = fd;
	at->events = events;
	at->revents = 0;
	return at + 1;
}

static void go_on(struct command *cmd, const struct pollfd *found)
{
	int i;

	if (cmd->in == found->fd && cmd->held) {
		feed(cmd);
	} else if (cmd->in == found->fd && found->revents & POLLERR) {
		cmd->broken = true;
		close_one(&cmd->in);
	}
	for (i = 0; i < 2; i++)
		if (cmd->out[i] == found->fd)
			drain(cmd, i);
}

/* One turn: waits until something can go on, and lets it. */
static void turn(int signals)
{
	struct pollfd *end = ask(ask(polled, port, 0), signals, POLLIN), *at;
	bool has_room;
	int i, j;

	/* Where these find no room there is something to go out, which is waited for. */
	take_frames();
	if (quits)
		return;
	for (i = 0; i < COMMANDS; i++)
		if (commands[i].id)
			settle(&commands[i]);
	has_room = room() >= 2 * SMALL;
	polled[0].events = (room() >= SMALL && came < sizeof(incoming) ? POLLIN : 0) |
			   (out_from < out_to ? POLLOUT : 0);
	for (i = 0; i < COMMANDS; i++) {
		struct command *cmd = &commands[i];

		if (!cmd->id)
			continue;
		/* Without anything to write it is still told that nobody reads. */
		if (cmd->in >= 0 && !cmd->terminal)
			end = ask(end, cmd->in, cmd->held ? POLLOUT : 0);
		else if (cmd->in >= 0 && cmd->held)
			end = ask(end, cmd->in, POLLOUT);
		for (j = 0; j < 2; j++)
			if (cmd->out[j] >= 0 && cmd->credit[j] && has_room)
				end = ask(end, cmd->out[j], POLLIN);
	}
	if (poll(polled, end - polled, -1) < 0)
		return;
	look_for_exits(signals);
	for (at = polled + 2; at < end; at++)
		for (i = 0; at->revents && i < COMMANDS; i++)
			if (commands[i].id)
				go_on(&commands[i], at);
	if (polled[0].revents & (POLLIN | POLLHUP | POLLERR))
		read_port();
	if (out_from < out_to)
		write_port();
}

/* What was said last is still to go out, in a second at most. */
static void leave(void)
{
	struct pollfd last = { .fd = port, .events = POLLOUT };
	int i;

	for (i = 0; i < COMMANDS; i++)
		if (commands[i].id)
			kill_group(&commands[i], SIGKILL);
	for (i = 0; i < 50 && out_from < out_to && poll(&last, 1, PAUSE_MS) >= 0; i++)
		if (last.revents & POLLOUT)
			write_port();
		else if (last.revents)
			break;
}

static void warn(const char *what)
{
	fprintf(stderr, "agent: %s: %s\n", what, strerror(errno));
}

/* Its buffers and a piece of its stack are written to, so that they are there. */
static void protect(void)
{
	const struct sched_param first = { .sched_priority = 1 };
	static const char score[] = "-1000";
	char stack[STACK];
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, score, strlen(score)) < 0)
		warn("the OOM killer may choose it");
	if (fd >= 0)
		close(fd);
	if (sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &first))
		warn("a busy guest may delay it");
	memset(commands, 1, sizeof(commands));
	memset(commands, 0, sizeof(commands));
	memset(incoming, 1, sizeof(incoming));
	memset(outgoing, 1, sizeof(outgoing));
	memset(strings, 1, sizeof(strings));
	memset(environment, 1, sizeof(environment));
	memset(polled, 1, sizeof(polled));
	explicit_bzero(stack, sizeof(stack));
	if (mlockall(MCL_CURRENT | MCL_FUTURE))
		warn("its memory may be reclaimed");
}

int main(int argc, char **argv)
{
	struct stat what;
	sigset_t child;
	char *end;
	int signals, fd;

	if (argc != 2) {
		fprintf(stderr, "usage: agent PORT; a path, or the number of an open descriptor\n");
		return 2;
	}
	port = strtol(argv[1], &end, 10);
	if (*end || end == argv[1])
		port = open(argv[1], O_RDWR | O_CLOEXEC);
	if (port < 0 || fstat(port, &what) || fcntl(port, F_SETFL, O_NONBLOCK)) {
		warn(argv[1]);
		return 1;
	}
	port_is_device = S_ISCHR(what.st_mode);
	for (fd = 3; fd < 64; fd++)
		fcntl(fd, F_SETFD, FD_CLOEXEC);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	signals = signalfd(-1, &child, SFD_NONBLOCK | SFD_CLOEXEC);
	if (signals < 0) {
		warn("signalfd");
		return 1;
	}
	protect();
	say('H', 0, 3, VERSION, COMMANDS, INPUT);
	while (!quits)
		turn(signals);
	leave();
	return 0;
}
