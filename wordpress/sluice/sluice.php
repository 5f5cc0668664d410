<?php
/**
 * Plugin Name:       Sluice
 * Description:       Receives signed results from a Sluice gateway as drafts, exactly once, and shows editors what became of their automations.
 * Version:           0.1.0
 * Requires at least: 6.1
 * Requires PHP:      8.1
 * License:           GPL-2.0-or-later
 * License URI:       https://www.gnu.org/licenses/gpl-2.0.html
 * Text Domain:       sluice
 * Domain Path:       /languages
 * Update URI:        false
 *
 * @package Sluice
 */

defined( 'ABSPATH' ) || exit;

if ( defined( 'SLUICE_VERSION' ) ) {
	return;
}
define( 'SLUICE_VERSION', '0.1.0' );
define( 'SLUICE_FILE', __FILE__ );
define( 'SLUICE_DIR', __DIR__ );

foreach ( array(
	'includes/class-sluice-json.php',
	'includes/class-sluice-token.php',
	'includes/class-sluice-callback.php',
	'includes/class-sluice-status.php',
	'includes/class-sluice-text.php',
	'includes/class-sluice-words.php',
	'includes/class-sluice-caps.php',
	'includes/class-sluice-schema.php',
	'includes/class-sluice-options.php',
	'includes/class-sluice-keys.php',
	'includes/class-sluice-jobs.php',
	'includes/class-sluice-requests.php',
	'includes/class-sluice-pull.php',
	'includes/class-sluice-outbox.php',
	'includes/class-sluice-mailer.php',
	'includes/class-sluice-posts.php',
	'includes/class-sluice-proposals.php',
	'includes/class-sluice-inbox.php',
	'includes/class-sluice-guard.php',
	'includes/class-sluice-rest.php',
	'includes/class-sluice-health.php',
	'includes/class-sluice-privacy.php',
	'includes/class-sluice-plugin.php',
	'admin/class-sluice-admin.php',
	'admin/class-sluice-settings.php',
	'admin/class-sluice-screen.php',
	'admin/class-sluice-widget.php',
	'admin/class-sluice-post-panel.php',
	'admin/class-sluice-profile.php',
) as $sluice_file ) {
	require_once __DIR__ . '/' . $sluice_file;
}
unset( $sluice_file );

register_activation_hook( __FILE__, array( 'Sluice_Plugin', 'activate' ) );
register_deactivation_hook( __FILE__, array( 'Sluice_Plugin', 'deactivate' ) );
Sluice_Plugin::hooks();
