/* mews/mews.h: all of Mews. A plugin needs only mews/plugin.h, a program that links the
 * library mews/server.h or mews/port.h. */
#ifndef MEWS_H
#define MEWS_H

#include "base.h"
#include "exchange.h"
#include "plugin.h"
#include "port.h"
#include "server.h"

#endif
