// SPDX-License-Identifier: GPL-2.0-only
/* Mappings of the process that runs the case, and looks through them. */
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/uaccess.h>

#include "module.h"

/*
 * Maps so many bytes at an offset of the device, by a file with these operations; 0 where
 * that failed. That it can be done is a check unless the error is asked for.
 */
unsigned long tp_map_file(struct tp_run *run, const struct file_operations *fops, void *what,
			  u64 size, int flags, u64 offset, int *err)
{
	unsigned long at;
	struct file *f;

	f = anon_inode_getfile("[harness]", fops, what, O_RDWR);
	if (!tp_check(run, !IS_ERR(f), "no file to map"))
		return 0;
	f->f_mapping = tp_drm()->anon_inode->i_mapping;
	at = vm_mmap(f, 0, size, PROT_READ | PROT_WRITE, flags, offset);
	fput(f);
	if (err)
		*err = IS_ERR_VALUE(at) ? (long)at : 0;
	else
		tp_check(run, !IS_ERR_VALUE(at), "no mapping: %ld", (long)at);
	return IS_ERR_VALUE(at) ? 0 : at;
}

/* By one instruction: what copies more tries again, byte by byte, where a fault fails. */
bool tp_user_is(struct tp_run *run, unsigned long at, pgoff_t page, u64 want,
		const char *when)
{
	u64 got = 0;

	if (!tp_check(run, !get_user(got, (u64 __user *)(at + (page << PAGE_SHIFT))),
		      "%s: a fault on page %lu failed", when, page))
		return false;
	return tp_check(run, got == want, "%s: page %lu of a mapping: expected %016llx, got %016llx",
			when, page, want, got);
}
