// SPDX-License-Identifier: MIT
// Ends the process from a second thread while Main waits: the host's code after Main never runs.
using System;
using System.Threading;

class Exit
{
    static int Main()
    {
        new Thread(() => Environment.Exit(7)).Start();
        Thread.Sleep(Timeout.Infinite);
        return 1;
    }
}
