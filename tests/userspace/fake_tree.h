/* SPDX-License-Identifier: MIT */
/* The tree like sysfs of fake_kernel.c. */
#ifndef FAKE_TREE_H
#define FAKE_TREE_H

/* Makes the tree have so many cards, and one of somebody else's; 0 removes the class as well. */
void tree_set_cards(unsigned int count);

#endif
