<?php
/**
 * The choice in the profile.
 *
 * @package Sluice
 */

defined( 'ABSPATH' ) || exit;

/**
 * Each person chooses which mails they get; nobody gets any without having asked.
 */
final class Sluice_Profile {

	/** Hooks. */
	public static function hooks(): void {
		add_action( 'show_user_profile', array( self::class, 'render' ) );
		add_action( 'edit_user_profile', array( self::class, 'render' ) );
		add_action( 'personal_options_update', array( self::class, 'save' ) );
		add_action( 'edit_user_profile_update', array( self::class, 'save' ) );
	}

	/**
	 * The field.
	 *
	 * @param WP_User $user Whose profile.
	 */
	public static function render( WP_User $user ): void {
		if ( ! user_can( $user, Sluice_Caps::VIEW ) ) {
			return;
		}
		$now = (string) get_user_meta( $user->ID, Sluice_Mailer::META, true );
		echo '<h2>' . esc_html__( 'Sluice', 'sluice' ) . '</h2><table class="form-table" role="presentation"><tr><th><label for="sluice_notify">' . esc_html__( 'Mails about results', 'sluice' ) . '</label></th><td>';
		wp_nonce_field( 'sluice_profile_' . $user->ID, 'sluice_profile' );
		echo '<select name="sluice_notify" id="sluice_notify">';
		foreach ( Sluice_Mailer::choices() as $value => $label ) {
			echo '<option value="' . esc_attr( $value ) . '"' . selected( $now, $value, false ) . '>' . esc_html( $label ) . '</option>';
		}
		echo '</select></td></tr></table>';
	}

	/**
	 * Saves it.
	 *
	 * @param int $user_id Whose.
	 */
	public static function save( int $user_id ): void {
		$nonce = isset( $_POST['sluice_profile'] ) && is_string( $_POST['sluice_profile'] ) ? sanitize_text_field( wp_unslash( $_POST['sluice_profile'] ) ) : '';
		if ( ! wp_verify_nonce( $nonce, 'sluice_profile_' . $user_id ) || ! current_user_can( 'edit_user', $user_id ) ) {
			return;
		}
		$choice = isset( $_POST['sluice_notify'] ) && is_string( $_POST['sluice_notify'] ) ? sanitize_key( $_POST['sluice_notify'] ) : '';
		if ( '' === $choice || ! isset( Sluice_Mailer::choices()[ $choice ] ) ) {
			delete_user_meta( $user_id, Sluice_Mailer::META );
		} else {
			update_user_meta( $user_id, Sluice_Mailer::META, $choice );
		}
	}
}
