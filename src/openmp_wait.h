/* How OpenMP's threads wait for each other. */
#ifndef PDMBOOTH_SRC_OPENMP_WAIT_H
#define PDMBOOTH_SRC_OPENMP_WAIT_H

/* GNU OpenMP's threads spin for milliseconds at every barrier, which makes a machine that does something else as well several times slower. The
   setting is read before main() runs, so that the program starts itself anew once, asking for waits without spinning, unless the user has said how to wait
   (OMP_WAIT_POLICY or GOMP_SPINCOUNT). Call first thing in main; returns where there is nothing to do or it cannot be done. */
void openmp_wait_briefly(char **argv);

#endif
