/* The screens, each in a file of its own. */
#ifndef PDMBOOTH_UI_SCREENS_H
#define PDMBOOTH_UI_SCREENS_H

#include "ui/screen.h"

extern const struct screen subjects_screen, masks_screen, prompts_screen, profile_screen, train_screen, compare_screen, log_screen,
    help_screen;

#endif
