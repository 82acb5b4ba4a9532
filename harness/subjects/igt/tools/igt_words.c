// SPDX-License-Identifier: GPL-2.0-only
/*
 * A test that speaks as IGT's do, for trying the way from igt_runner to a report: a subtest for
 * each result that there is. It is linked with nothing of IGT.
 *
 * What igt_runner wants of a test: --list-subtests names the subtests; --run-subtest NAME runs
 * one, whose beginning and result are lines on standard output, and on standard error, too, where
 * IGT_SENTINEL_ON_STDERR is set; the kernel's log has a line when one begins. The exit status is
 * 0, 77 (skipped), 79 (no such subtest), 98 (failed) or 112 (nothing can be run on this machine
 * any more).
 */
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define NAME "igt_words"

enum { SUCCESS = 0, SKIP = 77, INVALID = 79, FAIL = 98, ABORT = 112 };

struct subtest {
	const char *name;
	int (*run)(void);
};

static const char *running;
static struct timespec begun;

static void to_kernel(const char *format, const char *name)
{
	char line[256];
	int length = snprintf(line, sizeof(line), format, name);
	int file;

	file = open("/dev/kmsg", O_WRONLY);
	if (file < 0)
		return;
	if (write(file, line, length) != length)
		perror("/dev/kmsg");
	close(file);
}

static void mark(const char *format, const char *name, const char *result)
{
	struct timespec now;
	double seconds;

	clock_gettime(CLOCK_MONOTONIC, &now);
	seconds = now.tv_sec - begun.tv_sec + (now.tv_nsec - begun.tv_nsec) / 1e9;
	printf(format, name, result, seconds);
	fflush(stdout);
	if (getenv("IGT_SENTINEL_ON_STDERR"))
		fprintf(stderr, format, name, result, seconds);
}

static void begin(const char *format, const char *name)
{
	clock_gettime(CLOCK_MONOTONIC, &begun);
	mark(format, name, "");
}

static const char *word_of(int status)
{
	return status == SUCCESS ? "SUCCESS" : status == SKIP ? "SKIP" : "FAIL";
}

static int run_dynamic(const char *name, int status)
{
	to_kernel("<6>[IGT] " NAME ": starting dynamic subtest %s\n", name);
	begin("Starting dynamic subtest: %s%s\n", name);
	mark("Dynamic subtest %s: %s (%.3fs)\n", name, word_of(status));
	return status;
}

static int pass(void)
{
	printf("all is well\n");
	return SUCCESS;
}

static int skip(void)
{
	printf("Test requirement not met in function %s, file %s:%d:\n",
	       __func__, __FILE__, __LINE__);
	printf("Test requirement: a device that nobody has\n");
	return SKIP;
}

static int fail(void)
{
	fprintf(stderr, "(" NAME ":%d) CRITICAL: Test assertion failure function fail\n", getpid());
	fprintf(stderr, "(" NAME ":%d) CRITICAL: Failed assertion: one == two\n", getpid());
	return FAIL;
}

static int warn(void)
{
	fprintf(stderr, "(" NAME ":%d) WARNING: something is odd\n", getpid());
	return SUCCESS;
}

static int dmesg_warn(void)
{
	to_kernel("<4>" NAME ": the kernel complains%s\n", "");
	return SUCCESS;
}

static int dmesg_fail(void)
{
	to_kernel("<3>" NAME ": the kernel complains again%s\n", "");
	return fail();
}

static int dynamics(void)
{
	run_dynamic("one", SUCCESS);
	return run_dynamic("two", SUCCESS);
}

static int dynamics_mixed(void)
{
	run_dynamic("good", SUCCESS);
	run_dynamic("none", SKIP);
	return run_dynamic("bad", FAIL);
}

static void died(int number)
{
	static const char out[] = "Received signal SIGSEGV.\n";

	if (write(STDERR_FILENO, out, sizeof(out) - 1) < 0)
		_exit(FAIL);
	mark("Subtest %s: %s (%.3fs)\n", running, "CRASH");
	signal(number, SIG_DFL);
	raise(number);
}

static int crash(void)
{
	signal(SIGSEGV, died);
	raise(SIGSEGV);
	return SUCCESS;
}

static int silent(void)
{
	_exit(SUCCESS);
}

static int hang(void)
{
	while (pause())
		;
	return FAIL;
}

static int panic(void)
{
	int file = open("/proc/sysrq-trigger", O_WRONLY);

	if (file < 0 || write(file, "c", 1) != 1)
		perror("/proc/sysrq-trigger");
	return FAIL;
}

static int abort_all(void)
{
	fprintf(stderr, "nothing can be run on this machine any more\n");
	_exit(ABORT);
}

/* In this order they are run; the kernel dies in the middle. */
static const struct subtest subtests[] = {
	{ "pass", pass },
	{ "skip", skip },
	{ "fail", fail },
	{ "warn", warn },
	{ "dynamic", dynamics },
	{ "panic", panic },
	{ "dynamic-mixed", dynamics_mixed },
	{ "dmesg-warn", dmesg_warn },
	{ "dmesg-fail", dmesg_fail },
	{ "crash", crash },
	{ "silent", silent },
	{ "hang", hang },
	{ "abort", abort_all },
	{ "never", pass },
};

static int run(const struct subtest *subtest)
{
	int status;

	running = subtest->name;
	to_kernel("<6>[IGT] " NAME ": starting subtest %s\n", subtest->name);
	begin("Starting subtest: %s%s\n", subtest->name);
	status = subtest->run();
	mark("Subtest %s: %s (%.3fs)\n", subtest->name, word_of(status));
	to_kernel("<6>[IGT] " NAME ": exiting, %s\n", word_of(status));
	return status;
}

int main(int argc, char **argv)
{
	bool list = argc == 2 && !strcmp(argv[1], "--list-subtests");
	bool one = argc == 3 && !strcmp(argv[1], "--run-subtest");

	if (!list)
		printf("IGT-Version: none (" NAME ") (Linux)\n");
	fflush(stdout);
	for (size_t i = 0; i < sizeof(subtests) / sizeof(*subtests); i++) {
		if (list)
			puts(subtests[i].name);
		else if (one && !strcmp(argv[2], subtests[i].name))
			return run(&subtests[i]);
	}
	return list ? SUCCESS : INVALID;
}
