// SPDX-License-Identifier: GPL-2.0-only
/*
 * heart MS: a frame `@beat LENGTH UPTIME` on the control channel (file
 * descriptor 3) every MS milliseconds, for as long as the guest lives.
 *
 * It says that the kernel still schedules user space, so nothing that a load
 * does may stop it: its pages are locked once all of them were touched, the
 * OOM killer passes it by, and it runs before every ordinary task. A beat is
 * one write() of a text made by hand; nothing else is called and no memory
 * is allocated.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define CONTROL_FD 3
#define NSEC_PER_SEC 1000000000L
#define NSEC_PER_MSEC 1000000L

static char *put_number(char *at, unsigned long long value, int digits)
{
	char text[24];
	int len = 0;

	do {
		text[len++] = '0' + value % 10;
		value /= 10;
	} while (value || len < digits);
	while (len)
		*at++ = text[--len];
	return at;
}

/* Seconds since boot with two digits behind the point, as in /proc/uptime. */
static void send_beat(void)
{
	static char frame[64], uptime[32];
	struct timespec now;
	char *at;
	size_t len;

	clock_gettime(CLOCK_BOOTTIME, &now);
	at = put_number(uptime, now.tv_sec, 1);
	*at++ = '.';
	at = put_number(at, now.tv_nsec / (NSEC_PER_SEC / 100), 2);
	*at = 0;
	len = at - uptime;

	at = stpcpy(frame, "@beat ");
	at = put_number(at, len, 1);
	*at++ = ' ';
	at = stpcpy(at, uptime);
	*at++ = '\n';
	/* A beat that cannot be written is one that is missed: the host sees it. */
	if (write(CONTROL_FD, frame, at - frame) < 0)
		return;
}

static void protect(void)
{
	const struct sched_param first = { .sched_priority = 1 };
	static const char score[] = "-1000";
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, score, strlen(score)) < 0)
		fprintf(stderr, "heart: the OOM killer may choose it: %s\n", strerror(errno));
	if (fd >= 0)
		close(fd);
	if (sched_setscheduler(0, SCHED_FIFO, &first))
		fprintf(stderr, "heart: a busy guest may delay it: %s\n", strerror(errno));
	/* What a beat needs has been touched; not the whole of the C library. */
	if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT))
		fprintf(stderr, "heart: its memory may be reclaimed: %s\n", strerror(errno));
}

int main(int argc, char **argv)
{
	long interval = argc == 2 ? atol(argv[1]) : 0;
	struct timespec pause;

	if (interval < 100 || interval > 60000) {
		fprintf(stderr, "usage: heart MS; 100 to 60000\n");
		return 2;
	}
	pause.tv_sec = interval / 1000;
	pause.tv_nsec = interval % 1000 * NSEC_PER_MSEC;
	send_beat();
	clock_nanosleep(CLOCK_MONOTONIC, 0, &(struct timespec){ 0 }, NULL);
	protect();
	for (;;) {
		clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
		send_beat();
	}
}
