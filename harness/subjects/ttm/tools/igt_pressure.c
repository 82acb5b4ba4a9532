// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tests of ttm_pressure.ko that speak as IGT's do: a subtest for each case that the module lists,
 * and `beside`, whose dynamic subtests press its objects from user space. The module is loaded
 * when it is first asked for anything. It is linked with nothing of IGT, whose tests these are
 * like is said in igt_words.c of the subject igt.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NAME "igt_pressure"
#define PLACE "/sys/kernel/debug/ttm_pressure/"
#define LIMIT "/sys/module/ttm/parameters/pages_limit"
#define LOAD "modprobe ttm && insmod \"${HARNESS_MODULES:-/extra}/ttm_pressure.ko\""
#define NO_LIMIT "16777216"
#define BESIDE "beside"
#define HOG_BYTES (70UL << 20)
#define STEP 4096

enum { SUCCESS = 0, SKIP = 77, INVALID = 79, FAIL = 98 };

static char text[1 << 18];
static struct timespec begun;

static void to_kernel(const char *format, const char *name)
{
	char line[256];
	int length = snprintf(line, sizeof(line), format, name);
	int file = open("/dev/kmsg", O_WRONLY);

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

static const char *word_of(int status)
{
	return status == SUCCESS ? "SUCCESS" : status == SKIP ? "SKIP" : "FAIL";
}

static int missing(const char *what)
{
	printf("Test requirement not met in function %s, file %s:%d:\n",
	       __func__, __FILE__, __LINE__);
	printf("Test requirement: %s\n", what);
	return SKIP;
}

static int critical(const char *what)
{
	fprintf(stderr, "(" NAME ":%d) CRITICAL: %s\n", getpid(), what);
	return FAIL;
}

/* Into `text`. */
static bool read_text(const char *path)
{
	size_t size = 0;
	ssize_t got;
	int file = open(path, O_RDONLY);

	if (file < 0)
		return false;
	while ((got = read(file, text + size, sizeof(text) - 1 - size)) > 0)
		size += got;
	close(file);
	text[size] = 0;
	return got == 0;
}

static bool write_text(const char *path, const char *what)
{
	ssize_t size = strlen(what), done;
	int file = open(path, O_WRONLY);

	if (file < 0)
		return false;
	done = write(file, what, size);
	close(file);
	return done == size;
}

static bool is_loaded(void)
{
	if (access(PLACE "run", W_OK) && system(LOAD))
		return false;
	return !access(PLACE "run", W_OK);
}

/* What the module's case came to; its lines, of which those that begin with # say what is wrong. */
static int run_case(const char *name, const char *knobs)
{
	const char *seed = getenv("HARNESS_SEED");
	char words[256];
	char *line, *rest = text;
	bool good, skipped;

	snprintf(words, sizeof(words), "case=%s seed=%s %s", name, seed ? seed : "1", knobs);
	if (!write_text(PLACE "run", words) || !read_text(PLACE "result"))
		return critical("the case could not be started; see the kernel's log");
	line = strsep(&rest, "\n");
	good = !strcmp(line, "ok");
	skipped = !strncmp(line, "skip ", 5);
	if (skipped)
		return missing(line + 5);
	while ((line = strsep(&rest, "\n"))) {
		if (*line == '#')
			critical(line + 1);
		else
			puts(line);
	}
	return good ? SUCCESS : critical("a check of the case failed");
}

static long stat_of(const char *name)
{
	char *at;

	if (!read_text(PLACE "stats"))
		return -1;
	for (at = text; (at = strstr(at, name)); at++)
		if ((at == text || at[-1] == '\n') && at[strlen(name)] == '=')
			return atol(at + strlen(name) + 1);
	return -1;
}

/* More memory than what the objects leave, written and read. */
static int hog(void)
{
	unsigned char *memory = mmap(NULL, HOG_BYTES, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t at;

	if (memory == MAP_FAILED)
		return FAIL;
	for (at = 0; at < HOG_BYTES; at += STEP)
		memset(memory + at, at / STEP % 251, STEP);
	for (at = 0; at < HOG_BYTES; at += STEP)
		if (memory[at] != at / STEP % 251 || memory[at + STEP - 1] != at / STEP % 251)
			return FAIL;
	return SUCCESS;
}

static int press(void)
{
	long before = stat_of("backed_up"), after;
	int status;
	pid_t child = fork();

	if (child < 0)
		return critical("no process for the hog");
	if (!child)
		_exit(hog());
	if (waitpid(child, &status, 0) < 0)
		return critical("the hog is lost");
	if (WIFSIGNALED(status))
		return critical("the hog was killed with swap free");
	if (WEXITSTATUS(status) != SUCCESS)
		return critical("the hog did not find what it had written");
	after = stat_of("backed_up");
	printf("backed_up=%ld\n", after - before);
	return before >= 0 && after > before ? SUCCESS : critical("no object was backed up");
}

static int take_step(const char *name, int (*step)(void))
{
	int status;

	to_kernel("<6>[IGT] " NAME ": starting dynamic subtest %s\n", name);
	clock_gettime(CLOCK_MONOTONIC, &begun);
	mark("Starting dynamic subtest: %s%s\n", name, "");
	status = step();
	mark("Dynamic subtest %s: %s (%.3fs)\n", name, word_of(status));
	return status;
}

static int hold(void)
{
	return run_case("hold", "total=80% bo=1M");
}

static int release(void)
{
	return run_case("release", "");
}

static int beside(void)
{
	char limit[64];
	int held, pressed = SUCCESS, released;

	if (!read_text("/proc/swaps") || !strchr(text, '\n') || !strchr(text, '\n')[1])
		return missing("swap");
	if (!read_text(LIMIT))
		return missing("the limit of TTM's pages");
	snprintf(limit, sizeof(limit), "%.63s", text);
	if (!write_text(LIMIT, NO_LIMIT))
		return critical("TTM's limit cannot be set");
	held = take_step("hold", hold);
	if (held == SUCCESS)
		pressed = take_step("press", press);
	/* What a red one holds is given back, too. */
	released = take_step("release", release);
	if (!write_text(LIMIT, limit))
		return critical("TTM's limit cannot be set back");
	return held != SUCCESS ? held : pressed != SUCCESS ? pressed : released;
}

static int run(const char *name)
{
	int status;

	to_kernel("<6>[IGT] " NAME ": starting subtest %s\n", name);
	clock_gettime(CLOCK_MONOTONIC, &begun);
	mark("Starting subtest: %s%s\n", name, "");
	status = !strcmp(name, BESIDE) ? beside() : run_case(name, "");
	mark("Subtest %s: %s (%.3fs)\n", name, word_of(status));
	to_kernel("<6>[IGT] " NAME ": exiting, %s\n", word_of(status));
	return status;
}

/* Names are what the module lists before a tab; helpers are steps of others. */
static bool next_name(char **rest, char **name)
{
	char *line;

	while ((line = strsep(rest, "\n"))) {
		bool is_helper = strstr(line, "helper");

		*name = strsep(&line, "\t");
		if (**name && !is_helper)
			return true;
	}
	return false;
}

int main(int argc, char **argv)
{
	bool list = argc == 2 && !strcmp(argv[1], "--list-subtests");
	bool one = argc == 3 && !strcmp(argv[1], "--run-subtest");
	char *rest = text, *name;

	if (!list)
		printf("IGT-Version: none (" NAME ") (Linux)\n");
	fflush(stdout);
	if (!is_loaded() || !read_text(PLACE "cases"))
		return critical("ttm_pressure.ko cannot be loaded");
	if (list)
		puts(BESIDE);
	else if (one && !strcmp(argv[2], BESIDE))
		return run(BESIDE);
	while (next_name(&rest, &name)) {
		if (list)
			puts(name);
		else if (one && !strcmp(argv[2], name))
			return run(argv[2]);
	}
	return list ? SUCCESS : INVALID;
}
