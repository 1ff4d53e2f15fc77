// SPDX-License-Identifier: MIT
// Starts a program, waits for it, and returns its exit code and 10.
//
// spawn PROGRAM [ARGUMENTS]
using System.Diagnostics;

class Spawn
{
    static int Main(string[] args)
    {
        var start = new ProcessStartInfo(args[0], string.Join(" ", args, 1, args.Length - 1));
        start.UseShellExecute = false;
        using (var process = Process.Start(start))
        {
            process.WaitForExit();
            return 10 + process.ExitCode;
        }
    }
}
