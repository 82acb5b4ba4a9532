// SPDX-License-Identifier: GPL-2.0-only
/*
 * kmsg FILE: writes the kernel log into a file as a console would print it,
 * from its first record on, for as long as the kernel lives.
 *
 * For a kernel on a test machine, which has no console that anybody keeps.
 * As with the heart, nothing that a load does may stop it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define LONGEST 8192

static char record[LONGEST + 1], line[4 * LONGEST];

static void protect(void)
{
	const struct sched_param first = { .sched_priority = 1 };
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, "-1000", 5) < 0)
		fprintf(stderr, "kmsg: the OOM killer may choose it: %s\n", strerror(errno));
	if (fd >= 0)
		close(fd);
	if (sched_setscheduler(0, SCHED_FIFO, &first))
		fprintf(stderr, "kmsg: a busy machine may delay it: %s\n", strerror(errno));
	if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT))
		fprintf(stderr, "kmsg: its memory may be reclaimed: %s\n", strerror(errno));
}

static int hex(char digit)
{
	if (digit >= '0' && digit <= '9')
		return digit - '0';
	if (digit >= 'a' && digit <= 'f')
		return digit - 'a' + 10;
	return -1;
}

/* "\xNN", as the kernel writes what is not printed. */
static int is_escape(const char *at, const char *end)
{
	return end - at >= 4 && at[0] == '\\' && at[1] == 'x' && hex(at[2]) >= 0 && hex(at[3]) >= 0;
}

/* The text of a record, as far as the first newline: what was escaped stands for itself again. */
static size_t put_line(char *at, const char **text, const char *end)
{
	const char *from = *text;
	char *begin = at;

	while (from < end && *from != '\n') {
		char byte = *from;

		if (is_escape(from, end)) {
			byte = hex(from[2]) << 4 | hex(from[3]);
			from += 4;
			if (byte == '\n')
				break;
		} else {
			from++;
		}
		*at++ = byte;
	}
	*text = from;
	return at - begin;
}

/* "PRIORITY,SEQUENCE,MICROSECONDS,FLAGS;TEXT", then properties, which no console prints. */
static void put_record(int out, size_t size)
{
	unsigned long long usec;
	const char *text, *end;
	char *at;

	record[size] = 0;
	text = strchr(record, ';');
	if (!text || sscanf(record, "%*u,%*u,%llu", &usec) != 1)
		return;
	end = strchrnul(++text, '\n');
	do {
		at = line + sprintf(line, "[%5llu.%06llu] ", usec / 1000000, usec % 1000000);
		at += put_line(at, &text, end);
		*at++ = '\n';
		/* What cannot be written is missing, which the host sees. */
		if (write(out, line, at - line) < 0)
			return;
	} while (text < end);
}

int main(int argc, char **argv)
{
	ssize_t size;
	int in, out;

	if (argc != 2) {
		fprintf(stderr, "usage: kmsg FILE\n");
		return 2;
	}
	in = open("/dev/kmsg", O_RDONLY | O_CLOEXEC);
	out = open(argv[1], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (in < 0 || out < 0) {
		fprintf(stderr, "kmsg: %s: %s\n", in < 0 ? "/dev/kmsg" : argv[1], strerror(errno));
		return 1;
	}
	protect();
	for (;;) {
		size = read(in, record, LONGEST);
		if (size > 0)
			put_record(out, size);
		else if (size < 0 && errno == EPIPE)
			/* Records were overwritten before they were read. */
			dprintf(out, "[ttm-harness: records of the kernel log are missing here]\n");
		else if (size == 0 || errno != EINTR)
			return 1;
	}
}
